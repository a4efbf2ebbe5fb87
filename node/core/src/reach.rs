//! How far the right of a certificate's holder reaches: to everything, to their port, to their carrier's journeys.

use cluster_config::actor::{Holder, Names};
use cluster_config::ids::{CarrierCode, PortCode};
use cluster_config::journey::JourneyPlan;
use cluster_config::rights::{self, Ask, Right};
use cluster_config::wire::{Fix, Refusal, RefusalCode};

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Everything.
    All,
    /// What leaves this port or comes to it.
    Port(PortCode),
    /// This carrier's journeys.
    Carrier(CarrierCode),
}

/// Judges a request of a certificate's holder, and says how far it reaches.
///
/// # Errors
/// `wrong-role`: the role may not, or the certificate does not name what bounds the right.
pub fn reach(holder: &Holder, ask: Ask) -> Result<Reach, Refusal> {
    let right = rights::check(&holder.actor, ask)?;
    match (right, holder.port, holder.carrier) {
        (Right::OwnPort, Some(port), _) => Ok(Reach::Port(port)),
        (Right::OwnPort, None, _) => Err(unbounded(holder, Names::Port)),
        (Right::OwnJourneys, _, Some(carrier)) => Ok(Reach::Carrier(carrier)),
        (Right::OwnJourneys, _, None) => Err(unbounded(holder, Names::Carrier)),
        (Right::Yes | Right::No | Right::TwoPeople, ..) => Ok(Reach::All),
    }
}

fn unbounded(holder: &Holder, lacks: Names) -> Refusal {
    let Holder { actor, .. } = holder;
    let (problem, option) = match lacks {
        Names::Carrier => ("it names no carrier", "--carrier CODE"),
        Names::Port | Names::Nothing => ("it names no port", "--port CODE"),
    };
    let fix = format!("issue it again with `tvs certs issue --role {} --name {} {option}`", actor.role, actor.name);
    Refusal::new(RefusalCode::WrongRole, format!("certificate {holder}"), problem, Fix::with(fix))
}

impl Reach {
    /// Whether it has a journey in it.
    pub fn covers(self, plan: &JourneyPlan) -> bool {
        match self {
            Self::All => true,
            Self::Port(port) => plan.departure_port == port || plan.arrival_port == port,
            Self::Carrier(carrier) => plan.carrier == carrier.as_str(),
        }
    }

    /// Judges a journey that somebody wants to announce.
    ///
    /// # Errors
    /// `wrong-role` where it is another carrier's.
    pub fn check(self, plan: &JourneyPlan) -> Result<(), Refusal> {
        if self.covers(plan) {
            return Ok(());
        }
        let whose = match self {
            Self::Carrier(carrier) => format!("carrier {carrier}"),
            Self::Port(port) => format!("port {port}"),
            Self::All => "everybody".to_owned(),
        };
        let (place, problem) = (format!("journey {}", plan.id), format!("{whose} has no part in it"));
        let fix = "leave it to its own carrier, or to an operator";
        Err(Refusal::new(RefusalCode::WrongRole, place, problem, fix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    fn judged(holder: &str, ask: Ask) -> Result<Reach, RefusalCode> {
        reach(&holder.parse().expect("a holder"), ask).map_err(|refusal| refusal.code)
    }

    #[test]
    fn a_right_reaches_as_far_as_the_certificate_says() {
        let refused = Err(RefusalCode::WrongRole);
        let port = |code: &str| Ok(Reach::Port(code.parse().expect("a port")));
        let carrier = |code: &str| Ok(Reach::Carrier(code.parse().expect("a carrier")));
        assert_eq!(judged("tvs://gate/g?port=JFK", Ask::Board), port("JFK"));
        assert_eq!(judged("tvs://gate/g", Ask::Board), refused, "a gate without a place");
        assert_eq!(judged("tvs://gate/g?port=JFK", Ask::SubmitManifest), refused);
        assert_eq!(judged("tvs://operator/ada", Ask::SubmitManifest), Ok(Reach::All));
        assert_eq!(judged("tvs://operator/ada", Ask::Board), refused);
        assert_eq!(judged("tvs://carrier/desk?carrier=AA", Ask::CloseJourney), carrier("AA"));
        assert_eq!(judged("tvs://carrier/desk", Ask::CloseJourney), refused);
        assert_eq!(judged("tvs://officer/bo?port=MIA", Ask::GalleryList), port("MIA"));
        assert_eq!(judged("tvs://owner/cy", Ask::PolicySet), refused, "not alone");
    }

    #[test]
    fn a_carrier_and_a_port_have_part_in_their_own_journeys() {
        let plan = fixture::plan();
        let covers = |ask, holder: &str| reach(&holder.parse().expect("a holder"), ask).expect("a right").covers(&plan);
        assert!(covers(Ask::GalleryList, "tvs://carrier/x?carrier=AA"));
        assert!(!covers(Ask::GalleryList, "tvs://carrier/x?carrier=BA"));
        for (port, has_part) in [("JFK", true), ("VIE", true), ("MIA", false)] {
            assert_eq!(covers(Ask::GalleryList, &format!("tvs://officer/x?port={port}")), has_part, "{port}");
        }
        let refusal = Reach::Carrier("BA".parse().expect("a carrier")).check(&plan).expect_err("another carrier's");
        assert_eq!((refusal.code, refusal.place.as_str()), (RefusalCode::WrongRole, "journey AA1"));
    }
}
