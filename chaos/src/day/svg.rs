//! The day as a picture: a few curves over one axis of time, drawn by hand.

use std::fmt::Write as _;

/// Measures of the picture, pixels.
const WIDTH: f64 = 1_200.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 20.0;
const PANEL: f64 = 150.0;
const GAP: f64 = 46.0;
const TOP: f64 = 76.0;

/// Colours that colour-blind people tell apart (Okabe and Ito, 2008).
const COLOURS: [&str; 6] = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"];

/// One curve. Nothing is drawn where a value is absent.
pub struct Curve {
    pub name: String,
    /// Time and value.
    pub points: Vec<(f64, Option<f64>)>,
}

/// Curves over the same values.
pub struct Panel {
    /// What is shown, with its unit.
    pub title: String,
    /// Whether values stand on a logarithmic axis.
    pub logarithmic: bool,
    pub curves: Vec<Curve>,
}

/// One flight: when its manifest came, when it began to board, when it was closed, and the share of its travellers who
/// boarded.
pub struct Bar {
    /// The three times.
    pub times: [f64; 3],
    /// From 0 to 1.
    pub boarded: f64,
}

/// The whole picture.
pub struct Picture {
    /// Above everything.
    pub title: String,
    /// The first and the last time.
    pub span: (f64, f64),
    /// What the axis of time counts.
    pub unit: String,
    /// Marks: from when to when, and what it was.
    pub marks: Vec<(f64, f64, String)>,
    /// The panels, from above.
    pub panels: Vec<Panel>,
    /// The flights, below them.
    pub bars: Vec<Bar>,
}

impl Picture {
    /// The picture as SVG.
    pub fn draw(&self) -> String {
        let panels = self.panels.len() + 1;
        let height = TOP + panels as f64 * (PANEL + GAP) + 20.0;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
             font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
        );
        text(&mut svg, LEFT, 24.0, "start", 16, &self.title);
        let bottom = height - 20.0 - GAP;
        for (index, (from, to, name)) in self.marks.iter().enumerate() {
            let (x, end) = (self.x(*from), self.x(*to).max(self.x(*from) + 2.0));
            let _ = writeln!(
                svg,
                "<rect x=\"{x:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"#D55E00\" opacity=\"0.2\"/>",
                end - x,
                bottom - TOP
            );
            text(&mut svg, x, TOP - 22.0 - 12.0 * (index % 2) as f64, "middle", 11, name);
        }
        for (index, panel) in self.panels.iter().enumerate() {
            self.panel(&mut svg, panel, TOP + index as f64 * (PANEL + GAP));
        }
        self.flights(&mut svg, TOP + self.panels.len() as f64 * (PANEL + GAP));
        svg.push_str("</svg>\n");
        svg
    }

    fn x(&self, time: f64) -> f64 {
        let (from, to) = self.span;
        LEFT + (time - from) / (to - from).max(1e-9) * (WIDTH - LEFT - RIGHT)
    }

    fn frame(&self, svg: &mut String, top: f64, title: &str) {
        let width = WIDTH - LEFT - RIGHT;
        let _ = writeln!(
            svg,
            "<rect x=\"{LEFT}\" y=\"{top}\" width=\"{width}\" height=\"{PANEL}\" fill=\"none\" stroke=\"#999\"/>"
        );
        text(svg, LEFT + 4.0, top - 5.0, "start", 12, title);
        let (from, to) = self.span;
        let step = step(to - from);
        let mut time = (from / step).ceil() * step;
        while time <= to {
            let x = self.x(time);
            line(svg, (x, top + PANEL), (x, top + PANEL + 4.0), "#999");
            text(svg, x, top + PANEL + 16.0, "middle", 11, &format!("{}{}", fine(time, step), self.unit));
            time += step;
        }
    }

    fn panel(&self, svg: &mut String, panel: &Panel, top: f64) {
        self.frame(svg, top, &panel.title);
        let values = || panel.curves.iter().flat_map(|curve| curve.points.iter().filter_map(|(_, value)| *value));
        let highest = values().fold(0.0_f64, f64::max).max(1e-9);
        let lowest = values().filter(|value| *value > 0.0).fold(highest, f64::min);
        let (floor, ceiling) = if panel.logarithmic {
            (
                10.0_f64.powf(lowest.log10().floor()),
                10.0_f64.powf(highest.log10().ceil().max(lowest.log10().floor() + 1.0)),
            )
        } else {
            (0.0, highest * 1.05)
        };
        let y = |value: f64| {
            let share = if panel.logarithmic {
                (value.max(floor) / floor).log10() / (ceiling / floor).log10()
            } else {
                value / ceiling
            };
            top + PANEL * (1.0 - share.clamp(0.0, 1.0))
        };
        let mut ticks = Vec::new();
        if panel.logarithmic {
            let mut tick = floor;
            while tick <= ceiling * 1.001 {
                ticks.push(tick);
                tick *= 10.0;
            }
        } else {
            let step = step(ceiling * 2.0);
            let mut tick = 0.0;
            while tick <= ceiling {
                ticks.push(tick);
                tick += step;
            }
        }
        for tick in ticks {
            line(svg, (LEFT, y(tick)), (WIDTH - RIGHT, y(tick)), "#e5e5e5");
            text(svg, LEFT - 6.0, y(tick) + 4.0, "end", 11, &short(tick));
        }
        for (index, curve) in panel.curves.iter().enumerate() {
            let colour = COLOURS[index % COLOURS.len()];
            let mut path = String::new();
            let mut drawing = false;
            for (time, value) in &curve.points {
                if let Some(value) = value {
                    let _ = write!(path, "{}{:.1} {:.1}", if drawing { 'L' } else { 'M' }, self.x(*time), y(*value));
                }
                drawing = value.is_some();
            }
            let _ = writeln!(svg, "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.3\"/>");
            let x = WIDTH - RIGHT - 90.0 * (panel.curves.len() - index) as f64;
            let _ =
                writeln!(svg, "<text x=\"{x}\" y=\"{}\" fill=\"{colour}\">{}</text>", top - 5.0, escape(&curve.name));
        }
    }

    /// Each flight is a thin line from its manifest to its end. It is dark while the flight boards, and red if too many
    /// people stayed behind.
    fn flights(&self, svg: &mut String, top: f64) {
        let title = "flights, in the order of their departures: announced (grey), boarding to closed \
                     (green, red: fewer than 95 % of those present boarded)";
        self.frame(svg, top, title);
        let row = PANEL / self.bars.len().max(1) as f64;
        for (index, bar) in self.bars.iter().enumerate() {
            let y = top + (index as f64 + 0.5) * row;
            let colour = if bar.boarded >= 0.95 { "#009E73" } else { "#D00000" };
            for (from, to, colour) in [(bar.times[0], bar.times[1], "#bbb"), (bar.times[1], bar.times[2], colour)] {
                let _ = writeln!(
                    svg,
                    "<line x1=\"{:.1}\" y1=\"{y:.2}\" x2=\"{:.1}\" y2=\"{y:.2}\" stroke=\"{colour}\" \
                     stroke-width=\"{:.2}\"/>",
                    self.x(from),
                    self.x(to),
                    row.clamp(0.15, 4.0)
                );
            }
        }
    }
}

/// A round distance, such that about ten of them fill the span.
fn step(span: f64) -> f64 {
    let rough = span.max(1e-9) / 10.0;
    let power = 10.0_f64.powf(rough.log10().floor());
    let of_power = [1.0, 2.0, 5.0, 10.0].into_iter().find(|factor| factor * power >= rough);
    of_power.unwrap_or(10.0) * power
}

/// The label of a tick, with as many digits as the distance to the next tick needs.
fn fine(value: f64, step: f64) -> String {
    let digits = (-step.log10().floor()).max(0.0) as usize;
    format!("{value:.digits$}")
}

fn short(value: f64) -> String {
    if value.abs() >= 10.0 || value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64), colour: &str) {
    let _ = writeln!(
        svg,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{colour}\"/>",
        from.0, from.1, to.0, to.1
    );
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, size: u32, words: &str) {
    let words = escape(words);
    let _ =
        writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-size=\"{size}\">{words}</text>");
}

fn escape(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_drawn_with_all_of_its_parts() {
        let curve = |name: &str| Curve {
            name: name.to_owned(),
            points: vec![(0.0, Some(1.0)), (1.0, None), (2.0, Some(80.0))],
        };
        let picture = Picture {
            title: "a day & more".to_owned(),
            span: (0.0, 2.0),
            unit: " h".to_owned(),
            marks: vec![(1.0, 1.1, "node 2 killed".to_owned())],
            panels: vec![
                Panel { title: "captures".to_owned(), logarithmic: false, curves: vec![curve("all")] },
                Panel { title: "latency".to_owned(), logarithmic: true, curves: vec![curve("p50"), curve("p99")] },
            ],
            bars: vec![Bar { times: [0.0, 0.5, 1.5], boarded: 1.0 }],
        };
        let svg = picture.draw();
        assert_eq!(svg.matches("<path").count(), 3);
        assert!(svg.contains("a day &amp; more") && svg.contains("node 2 killed") && svg.ends_with("</svg>\n"));
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn steps_are_round() {
        assert_eq!([step(24.0), step(1.0), step(730.0)], [5.0, 0.1, 100.0]);
    }
}
