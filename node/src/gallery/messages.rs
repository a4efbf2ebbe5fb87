//! What may be asked of the actor of one shard replica.

use std::sync::Arc;

use actix::Message;
use cluster_config::gallery::Segment;
use cluster_config::ids::GalleryVersion;
use cluster_config::wire::Refusal;
use cluster_config::wire::peer::{BuildOrder, Built};
use node_core::shard::Order;

use super::segment::Loaded;

/// Keep a segment that the owner pushes; answered once it is durable.
#[derive(Message)]
#[rtype(result = "Result<(), Refusal>")]
pub struct Store(pub Segment);

/// Give the segment that is served, at this version or a later one.
#[derive(Message)]
#[rtype(result = "Result<Segment, Refusal>")]
pub struct Fetch(pub GalleryVersion);

/// Build the next version; answered once it is committed.
#[derive(Message)]
#[rtype(result = "Result<Built, Refusal>")]
pub struct Build(pub BuildOrder);

/// What the replicated state asks for now.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Obey(pub Order);

/// The replica ends here.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Destroy;

/// A segment stands ready in memory and on disk.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Stage(pub Arc<Loaded>);
