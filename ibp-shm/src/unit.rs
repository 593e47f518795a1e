//! Records as bare pointers, for the C interface: its functions get a unit and nothing else.
//!
//! A record begins with its own offset, so that its address leads to the start of the configuration, and from
//! there to its strings and, in front of it, to the load board.
#![allow(unsafe_code)]

use std::ffi::c_void;

use zerocopy::{Immutable, KnownLayout};

use crate::config::{App, Host, Kv, Node};
use crate::image::Image;
use crate::image::layout::{AppRecord, HostRecord, KvRecord, NodeRecord};
use crate::mapping::image_around;

macro_rules! unit {
    ($unit:ident, $record:ty, $what:literal) => {
        impl<'a> $unit<'a> {
            #[doc = concat!("A pointer that stands for this ", $what, ".")]
            ///
            /// It is valid for as long as the [`Config`](crate::Config) is held. Null if the record does not
            /// know its place, because the segment was damaged.
            #[must_use]
            pub fn as_ptr(&self) -> *const c_void {
                pointer(&self.image, self.record, self.record.at)
            }

            #[doc = concat!("The ", $what, " that a pointer stands for; `None` for a null pointer.")]
            ///
            /// # Safety
            /// The pointer is null, or came from [`as_ptr`](Self::as_ptr) of the same type, and the
            /// [`Config`](crate::Config) that it came from is held for as long as the result is used.
            #[must_use]
            pub unsafe fn from_ptr(unit: *const c_void) -> Option<Self> {
                if unit.is_null() {
                    return None;
                }
                // SAFETY: by this function's contract `unit` is a record of this type in a mapping that lives
                // for `'a`, and `as_ptr` found that it begins with its own offset.
                let (image, at) = unsafe { image_around(unit) };
                Some($unit { image, record: image.record_at::<$record>(at)? })
            }
        }
    };
}

unit!(Node, NodeRecord, "node");
unit!(Host, HostRecord, "host");
unit!(App, AppRecord, "app");
unit!(Kv, KvRecord, "setting");

fn pointer<T: KnownLayout + Immutable>(image: &Image<'_>, record: &T, at: u32) -> *const c_void {
    let record = std::ptr::from_ref(record);
    let place = record.addr().wrapping_sub(image.bytes.as_ptr().addr());
    if place == at as usize { record.cast() } else { std::ptr::null() }
}

#[cfg(test)]
mod tests {
    use crate::image::tests::sample;
    use crate::{App, Host, Kv, Node, Reader};
    use ibp_core::Load;

    #[test]
    fn a_pointer_leads_back_to_all_that_its_record_has() {
        let reader = Reader::from_view(&sample()).unwrap();
        let config = reader.snapshot();
        let (node, app, kv) =
            (config.node_at(0).unwrap(), config.app_at(0).unwrap(), config.kv_at(0).unwrap());
        let host = node.host(1).unwrap();
        // SAFETY: the pointers are of these types, and `config` is held to the end.
        let (node2, host2, app2, kv2) = unsafe {
            (
                Node::from_ptr(node.as_ptr()).unwrap(),
                Host::from_ptr(host.as_ptr()).unwrap(),
                App::from_ptr(app.as_ptr()).unwrap(),
                Kv::from_ptr(kv.as_ptr()).unwrap(),
            )
        };
        assert_eq!((node2.name(), node2.host_count(), node2.key()), (node.name(), 2, node.key()));
        assert_eq!((host2.addr(), host2.ip_str()), (host.addr(), host.ip_str()));
        assert_eq!((app2.name(), app2.bin(), app2.timeout2_ms()), (app.name(), app.bin(), app.timeout2_ms()));
        assert_eq!((kv2.key(), kv2.value()), (kv.key(), kv.value()));
        assert!(host2.slot().report(Load { busy: 1, workers: 4 }, 1_000));
        assert_eq!(host.slot().load(1_000).map(|load| load.permille), Some(250), "it is the same line");
        // SAFETY: null is allowed.
        assert!(unsafe { Node::from_ptr(std::ptr::null()) }.is_none());
    }
}
