//! Segments in plain memory: what is built, what is found in it, and what damage does.

use std::path::Path;

use ibp_core::config::{
    Access, PairKey, Registry, Secret, View, ViewApp, ViewHost, ViewKv, ViewNode, ViewProject,
};
use proptest::prelude::*;

use super::layout::{
    Address, AppRecord, CHECKSUM_AT, Cell, Header, HostRecord, KeyRecord, KvRecord, NodeRecord,
};
use super::{Image, Placement, build, check, hash::hash, table};
use crate::board::SlotUse;
use crate::slot::Line;

/// A view with some of everything.
pub(crate) fn sample() -> View {
    let host = |addr: &str| ViewHost { addr: addr.parse().unwrap(), invalid: addr.ends_with('9') };
    let node = |name: &str, hosts: &[&str]| ViewNode {
        name: name.to_owned(),
        invalid: name == "GONE",
        hosts: hosts.iter().map(|addr| host(addr)).collect(),
        key: (name == "BANK").then_some(PairKey {
            current: Secret([7; 32]),
            previous: Some(Secret([6; 32])),
            new_enable_at: 1_700_000_000,
            old_disable_at: i64::MAX,
        }),
    };
    let app = |name: &str| ViewApp {
        name: name.to_owned(),
        desc: format!("{name}, 说明"),
        bin: format!("{name}.so"),
        timeout_ms: 1_000,
        timeout2_ms: 1_500,
        invalid: false,
        server_node: "BANK".to_owned(),
    };
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    View {
        this_node: "SHOP".to_owned(),
        connecting_timeout_ms: 1_000,
        retry_connect_ms: 30_000,
        min_compress_size: 2_048,
        registry: Some(Registry { ip: "10.0.0.250".parse().unwrap(), port: 5_280 }),
        access: Access::Projects,
        nodes: vec![
            node("BANK", &["10.0.0.1:5281", "[fe80::1%3]:5289"]),
            node("GONE", &[]),
            node("MAIL", &["127.0.0.1:0"]),
        ],
        apps: vec![app("PAY"), app("ASK")],
        projects: vec![
            ViewProject {
                name: "P1".to_owned(),
                server_nodes: names(&["BANK"]),
                client_nodes: names(&["SHOP", "MAIL", "UNKNOWN"]),
                apps: names(&["PAY"]),
            },
            ViewProject {
                name: "P2".to_owned(),
                server_nodes: names(&["MAIL"]),
                client_nodes: names(&["SHOP"]),
                apps: names(&["ASK", "PAY"]),
            },
        ],
        kv: vec![
            ViewKv { key: "COLOUR".to_owned(), value: "green".to_owned() },
            ViewKv { key: "EMPTY".to_owned(), value: String::new() },
        ],
    }
}

/// A segment in plain memory, aligned as a page is.
struct Plain {
    words: Vec<u64>,
    lines: Vec<Line>,
}

impl Plain {
    fn of(view: &View) -> Self {
        check(view).unwrap();
        let hosts = view.nodes.iter().map(|node| node.hosts.len() as u32).sum();
        let slots: Vec<SlotUse> = (0..hosts).map(|line| SlotUse { line, tag: 1 }).collect();
        let lines = (0..hosts.max(1)).map(|_| Line::free()).collect();
        let bytes =
            build(view, &Placement { generation: 5, board_id: 1, board_len: 4_096, slots: &slots }).unwrap();
        let words = bytes.chunks_exact(8).map(|word| u64::from_ne_bytes(word.try_into().unwrap())).collect();
        Plain { words, lines }
    }

    fn image(&self) -> Image<'_> {
        Image { bytes: zerocopy::IntoBytes::as_bytes(self.words.as_slice()), lines: &self.lines }
    }
}

#[test]
fn everything_that_was_put_in_is_found() {
    let view = sample();
    let plain = Plain::of(&view);
    let image = plain.image();
    image.verify(5, Path::new("sample")).unwrap();
    let header = image.header().unwrap();
    assert_eq!(image.text(header.this_node), "SHOP");
    assert_eq!(image.text(header.registry_ip), "10.0.0.250");
    for (number, node) in (0..).zip(&view.nodes) {
        let (found, record) = image.find::<NodeRecord>(&node.name).unwrap();
        assert_eq!((found, record.invalid != 0), (number, node.invalid));
        for (host, number) in node.hosts.iter().zip(record.hosts.first..) {
            let found: &HostRecord = image.record(number).unwrap();
            assert_eq!(found.addr.socket_addr(), Some(host.addr), "scope and flow included");
            assert_eq!(found.invalid != 0, host.invalid);
        }
    }
    for app in &view.apps {
        let (_, record) = image.find::<AppRecord>(&app.name).unwrap();
        assert_eq!(image.text(record.desc), app.desc);
    }
    for kv in &view.kv {
        let (_, record) = image.find::<KvRecord>(&kv.key).unwrap();
        assert_eq!(image.text(record.value), kv.value);
    }
}

#[test]
fn what_was_not_put_in_is_not_found() {
    let plain = Plain::of(&sample());
    let long = "x".repeat(10_000);
    for name in ["", "BAN", "BANKS", "bank", "BANK\0", "COLOUR", &long] {
        assert!(plain.image().find::<NodeRecord>(name).is_none(), "{name}");
    }
    let nothing = View { nodes: vec![], apps: vec![], projects: vec![], kv: vec![], ..sample() };
    let plain = Plain::of(&nothing);
    plain.image().verify(5, Path::new("nothing")).unwrap();
    assert!(plain.image().find::<NodeRecord>("BANK").is_none());
    assert!(plain.image().find::<KvRecord>("").is_none());
}

#[test]
fn a_zone_ends_where_it_ends() {
    let plain = Plain::of(&sample());
    let image = plain.image();
    assert_eq!((image.count::<HostRecord>(), image.count::<AppRecord>()), (3, 2));
    assert!(image.record::<HostRecord>(2).is_some() && image.record::<HostRecord>(3).is_none());
    assert!(image.record::<AppRecord>(2).is_none() && image.record::<AppRecord>(u32::MAX).is_none());
}

#[test]
fn access_follows_the_projects() {
    let mut view = sample();
    let plain = Plain::of(&view);
    let permits = |client, server, app| plain.image().permits(client, server, app);
    assert!(permits("SHOP", "BANK", "PAY"), "this node is not among the nodes, and has its roles");
    assert!(permits("MAIL", "BANK", "PAY"));
    assert!(permits("SHOP", "MAIL", "ASK"));
    assert!(!permits("SHOP", "BANK", "ASK"), "no one project has all three");
    assert!(!permits("BANK", "SHOP", "PAY"), "roles are not exchanged");
    assert!(!permits("UNKNOWN", "BANK", "PAY"), "a client that the view does not hold");
    assert!(!permits("SHOP", "BANK", "NOTHING"));
    view.access = Access::Open;
    assert!(Plain::of(&view).image().permits("ANYONE", "ANYWHERE", "ANYTHING"));
}

#[test]
fn every_string_is_followed_by_a_nul() {
    let plain = Plain::of(&sample());
    let image = plain.image();
    let (_, node) = image.find::<NodeRecord>("BANK").unwrap();
    let name = image.text(node.name);
    let end = name.as_ptr().addr() + name.len() - image.bytes.as_ptr().addr();
    assert_eq!(image.bytes[end], 0);
}

#[test]
fn a_view_that_contradicts_itself_is_refused_with_its_entry() {
    let refused = |change: &dyn Fn(&mut View), entry: &str| {
        let mut view = sample();
        change(&mut view);
        let error = check(&view).unwrap_err().to_string();
        assert!(error.contains(entry), "{error}");
    };
    refused(&|view| view.nodes[2].name = "BANK".to_owned(), "node \"BANK\"");
    refused(&|view| view.apps[1].name = "PAY".to_owned(), "app \"PAY\"");
    refused(&|view| view.kv[1].key = "COLOUR".to_owned(), "kv \"COLOUR\"");
    refused(&|view| view.nodes[0].hosts[1] = view.nodes[0].hosts[0], "node \"BANK\", host 10.0.0.1:5281");
    refused(&|view| view.nodes[0].name = "A\0B".to_owned(), "node \"A\\0B\"");
    refused(&|view| view.this_node = "\0".to_owned(), "this node \"\\0\"");
}

#[test]
fn a_table_keeps_every_name_within_its_probes_and_is_at_most_half_full() {
    for count in [0, 1, 2, 3, 7, 100, 1_000, 10_000] {
        let names: Vec<String> = (0..count).map(|number| format!("node-{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let built = table::build(&names).unwrap();
        assert!(built.cells.len().is_power_of_two() && built.cells.len() >= count * 2);
        let used = built.cells.iter().filter(|cell| **cell != Cell::default()).count();
        assert_eq!(used, count);
        for (record, name) in (1..).zip(&names) {
            let (home, tag) = table::home(hash(built.seed, name.as_bytes()), built.cells.len() as u32);
            let found = (0..table::PROBES).any(|probe| {
                built.cells[(home + probe) as usize & (built.cells.len() - 1)] == Cell { tag, record }
            });
            assert!(found, "{name} of {count}");
        }
        println!("{count} names: {} cells", built.cells.len());
    }
}

#[test]
fn the_hash_depends_on_every_byte_on_the_length_and_on_the_seed() {
    let mut seen = std::collections::HashSet::new();
    for len in 0..70 {
        let zeros = vec![0_u8; len];
        assert!(seen.insert(hash(1, &zeros)), "length {len}");
        assert!(seen.insert(hash(2, &zeros)), "length {len}, other seed");
        for at in 0..len {
            for bit in 0..8 {
                let mut bytes = zeros.clone();
                bytes[at] ^= 1 << bit;
                assert!(seen.insert(hash(1, &bytes)), "length {len}, byte {at}, bit {bit}");
            }
        }
    }
}

/// `docs/shared-memory.md` gives these offsets and sizes.
#[test]
fn the_layout_is_the_documented_one() {
    use std::mem::offset_of;
    assert_eq!(CHECKSUM_AT, offset_of!(Header, checksum));
    let header = [
        (offset_of!(Header, generation), 16),
        (offset_of!(Header, board_id), 40),
        (offset_of!(Header, connecting_timeout_ms), 56),
        (offset_of!(Header, this_node), 72),
        (offset_of!(Header, this_roles), 80),
        (offset_of!(Header, registry), 96),
        (offset_of!(Header, registry_ip), 128),
        (offset_of!(Header, nodes), 136),
        (offset_of!(Header, strings), 184),
        (offset_of!(Header, node_table), 192),
        (size_of::<Header>(), 240),
    ];
    header.iter().for_each(|(found, documented)| assert_eq!(found, documented));
    let sizes = [
        (size_of::<Cell>(), 8),
        (size_of::<Address>(), 32),
        (size_of::<NodeRecord>(), 48),
        (size_of::<HostRecord>(), 64),
        (size_of::<AppRecord>(), 56),
        (size_of::<KvRecord>(), 24),
        (size_of::<KeyRecord>(), 88),
    ];
    sizes.iter().for_each(|(found, documented)| assert_eq!(found, documented));
    let fields = [
        (offset_of!(NodeRecord, name), 8),
        (offset_of!(NodeRecord, hosts), 16),
        (offset_of!(NodeRecord, roles), 24),
        (offset_of!(NodeRecord, key), 40),
        (offset_of!(HostRecord, ip), 8),
        (offset_of!(HostRecord, addr), 16),
        (offset_of!(HostRecord, line), 48),
        (offset_of!(HostRecord, node), 56),
        (offset_of!(AppRecord, server_node), 32),
        (offset_of!(AppRecord, timeout_ms), 40),
        (offset_of!(AppRecord, projects), 48),
        (offset_of!(KvRecord, value), 16),
        (offset_of!(KeyRecord, new_enable_at), 64),
        (offset_of!(KeyRecord, has_previous), 80),
    ];
    fields.iter().for_each(|(found, documented)| assert_eq!(found, documented));
}

/// Does every lookup there is. Any answer will do: it must only be an answer.
fn look_everywhere(image: Image<'_>, view: &View) {
    let names =
        view.nodes.iter().map(|node| node.name.as_str()).chain(view.apps.iter().map(|app| app.name.as_str()));
    for name in names.chain(["", "SHOP", "COLOUR", "EMPTY", "NOT THERE"]) {
        if let Some((_, node)) = image.find::<NodeRecord>(name) {
            let _ = (image.text(node.name), image.projects(node.roles.client).len());
            let last = node.hosts.first.wrapping_add(node.hosts.count.min(9));
            for number in [node.hosts.first, last, u32::MAX] {
                if let Some(host) = image.record::<HostRecord>(number) {
                    let _ =
                        (image.text(host.ip), host.addr.socket_addr(), image.lines.get(host.line as usize));
                }
            }
        }
        if let Some((_, app)) = image.find::<AppRecord>(name) {
            let _ = (image.text(app.desc), image.text(app.bin), image.text(app.server_node));
        }
        if let Some((_, kv)) = image.find::<KvRecord>(name) {
            let _ = image.text(kv.value);
        }
        let _ = image.permits("SHOP", name, "PAY");
    }
    if let Some(header) = image.header() {
        let _ = (image.text(header.this_node), header.registry.socket_addr());
    }
}

/// How many damaged segments are looked at; few under Miri, which is slow.
const CASES: u32 = if cfg!(miri) { 20 } else { 4_000 };

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    /// Each damage is found by `verify`, and no lookup goes anywhere that it must not.
    #[test]
    fn damage_is_found_and_harmless(
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1_u8..), 1..6),
        cut in any::<Option<u16>>(),
    ) {
        let view = sample();
        let mut plain = Plain::of(&view);
        let len = plain.words.len() * 8;
        let mut damaged = false;
        for (at, flip) in flips {
            let at = at.index(len);
            let mut word = plain.words[at / 8].to_ne_bytes();
            word[at % 8] ^= flip;
            plain.words[at / 8] = u64::from_ne_bytes(word);
            damaged = true;
        }
        if let Some(cut) = cut {
            plain.words.truncate(usize::from(cut) % plain.words.len());
        }
        let undamaged = plain.words == Plain::of(&view).words;
        prop_assert!(damaged);
        prop_assert_eq!(plain.image().verify(5, Path::new("damaged")).is_ok(), undamaged);
        look_everywhere(plain.image(), &view);
    }

    #[test]
    fn three_lists_agree_with_sets(a in sorted(), b in sorted(), c in sorted()) {
        use std::collections::BTreeSet;
        let set = |list: &[u32]| list.iter().copied().collect::<BTreeSet<u32>>();
        let expected = !(&(&set(&a) & &set(&b)) & &set(&c)).is_empty();
        prop_assert_eq!(super::access::share_one(&a, &b, &c), expected);
    }
}

fn sorted() -> impl Strategy<Value = Vec<u32>> {
    prop::collection::btree_set(0_u32..40, 0..12).prop_map(|set| set.into_iter().collect())
}
