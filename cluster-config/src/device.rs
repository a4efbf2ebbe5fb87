//! What a capture device is, and how it took a picture (R25, R89).

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::{DeviceId, OwnerName, PlaceName, PortCode, UnixMs};

/// A capture device as it is registered (R26).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its name: that of its certificate.
    pub id: DeviceId,
    /// Where it stands.
    pub place: Place,
    /// Who owns it.
    pub owner: OwnerName,
    /// Whether that is the agency or one of its partners.
    pub ownership: Ownership,
    /// What it is.
    pub kind: DeviceKind,
    /// What its captures are for.
    pub touchpoints: BTreeSet<Touchpoint>,
}

/// Where a device stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The port of entry or exit.
    pub port: PortCode,
    /// The terminal, where it has some.
    pub terminal: Option<PlaceName>,
    /// The gate, at a port of departures.
    pub gate: Option<PlaceName>,
    /// The lane, at a land port.
    pub lane: Option<PlaceName>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.port)?;
        for (what, name) in [("terminal", self.terminal), ("gate", self.gate), ("lane", self.lane)] {
            if let Some(name) = name {
                write!(f, " {what} {name}")?;
            }
        }
        Ok(())
    }
}

/// A device, and since when it is registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// The device.
    pub device: Device,
    /// Since when.
    pub since: UnixMs,
    /// When it was retired; absent while it serves.
    pub retired: Option<UnixMs>,
}

/// Declares an enum of words that stand on the command line and in JSON.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident $what:literal { $($(#[$variant_doc:meta])* $variant:ident $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// Its word on the command line.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(format!("unknown {} {text:?}; use one of {}", $what, [$($word),*].join(", "))),
                }
            }
        }
    };
}

words! {
    /// Whose a device is.
    Ownership "ownership" {
        /// The agency's own.
        Agency "agency",
        /// A partner's: of a carrier, an airport, another agency.
        Partner "partner",
    }
}

words! {
    /// What a capture is for.
    Touchpoint "touchpoint" {
        /// Check-in.
        CheckIn "check-in",
        /// Where bags are handed in.
        BagDrop "bag-drop",
        /// The security checkpoint.
        Checkpoint "checkpoint",
        /// Boarding of an aircraft, a bus or a train.
        Boarding "boarding",
        /// Embarkation of a ship.
        Embarkation "embarkation",
        /// A pedestrian lane at a land port.
        PedestrianLane "pedestrian-lane",
        /// A vehicle lane at a land port.
        VehicleLane "vehicle-lane",
        /// Arrival.
        Arrival "arrival",
    }
}

impl Touchpoint {
    /// Whether who passes here leaves: a boarding is recorded here, and nowhere else.
    pub const fn is_boarding(self) -> bool {
        matches!(self, Self::Boarding | Self::Embarkation)
    }
}

/// Image-descriptive data that comes with every submission (R25, R89).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureDetail {
    /// The capture device's kind.
    pub device_kind: DeviceKind,
    /// How the picture was taken.
    pub image_kind: ImageKind,
    /// The device's own quality score, 0 to 100 (ISO/IEC 29794-1), where it has one.
    pub quality: Option<u8>,
}

words! {
    /// Kinds of capture devices.
    DeviceKind "kind of device" {
        /// Fixed camera at a boarding gate.
        GateCamera "gate-camera",
        /// Electronic gate with doors.
        Egate "egate",
        /// Handheld device of an operator.
        Handheld "handheld",
        /// Self-service kiosk.
        Kiosk "kiosk",
    }
}

/// Kinds of pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageKind {
    /// A single visible-light picture.
    VisibleStill,
    /// The best frame of a video.
    VideoFrame,
    NearInfrared,
}
