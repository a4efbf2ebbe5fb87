//! The live display of the demonstration and the benchmarks: a bar on a terminal, a line for each step elsewhere.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use node_stage::show::Show;

/// See the module. It goes when it is dropped.
pub struct Progress {
    bar: ProgressBar,
    is_terminal: bool,
    /// Whether steps stay as lines above the bar; else only the last one is shown, behind the bar.
    keeps_steps: bool,
}

impl Progress {
    /// A display whose steps stay: they tell a story.
    pub fn story() -> Self {
        let progress = Self::new(true);
        progress.bar.enable_steady_tick(Duration::from_millis(100));
        progress
    }

    /// A display that tells only what is being done.
    pub fn measurement() -> Self {
        Self::new(false)
    }

    fn new(keeps_steps: bool) -> Self {
        let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed_precise} {wide_bar} {pos}/{len} {msg}") {
            bar.set_style(style);
        }
        Self { bar, is_terminal, keeps_steps }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl Show for Progress {
    fn step(&self, text: &str) {
        match (self.is_terminal, self.keeps_steps) {
            (false, _) => eprintln!("{text}"),
            (true, true) => self.bar.println(text),
            (true, false) => self.bar.set_message(text.to_owned()),
        }
    }

    fn progress(&self, done: u64, all: u64, what: &str) {
        self.bar.set_length(all);
        self.bar.set_position(done);
        if self.keeps_steps {
            self.bar.set_message(what.to_owned());
        }
    }
}
