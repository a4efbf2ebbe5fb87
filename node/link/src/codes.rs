//! The codes with which streams are reset and connections closed.

use quinn::VarInt;

/// Stream reset: the frame will not be finished.
pub(crate) const CODE_ABANDONED: VarInt = VarInt::from_u32(1);
/// Connection closed: it is not needed any more, or the process ends.
pub(crate) const CODE_DONE: VarInt = VarInt::from_u32(2);
/// Connection closed: what came is not this protocol.
pub(crate) const CODE_PROTOCOL: VarInt = VarInt::from_u32(3);
/// Connection closed before it took a request: its certificate names no usable role, or is turned away.
pub(crate) const CODE_IDENTITY: VarInt = VarInt::from_u32(4);
/// Connection closed: a limit on connections is reached.
pub(crate) const CODE_LIMIT: VarInt = VarInt::from_u32(5);
/// Connection closed although it was taken before: its certificate is no longer good.
pub(crate) const CODE_ENDED: VarInt = VarInt::from_u32(6);
