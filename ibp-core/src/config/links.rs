//! How the entries of a model are connected: what names stand for, and who takes part in which project.

use super::index::{Index, position};

/// What names stand for, and who takes part in which project.
#[derive(Clone, Debug, Default)]
pub(super) struct Links {
    pub nodes: Index,
    pub apps: Index,
    pub projects: Index,
    /// The members of each project.
    pub members: Vec<Members>,
    /// The projects of each node.
    pub memberships: Memberships,
}

/// The members of a project, by position in the lists of nodes and apps.
#[derive(Clone, Debug, Default)]
pub(super) struct Members {
    pub server_nodes: Box<[u32]>,
    pub client_nodes: Box<[u32]>,
    pub apps: Box<[u32]>,
}

/// The projects of each node with the node's roles there; all in two arrays.
#[derive(Clone, Debug, Default)]
pub(super) struct Memberships {
    /// Where the projects of node `n` begin in `all`; they end where those of `n + 1` begin.
    starts: Vec<u32>,
    all: Vec<Membership>,
}

/// A project that a node belongs to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Membership {
    pub project: u32,
    pub server: bool,
    pub client: bool,
}

impl Memberships {
    pub fn of(nodes: usize, members: &[Members]) -> Memberships {
        let mut starts = vec![0u32; nodes + 1];
        for_each_membership(nodes, members, |node, _| starts[node as usize + 1] += 1);
        for node in 0..nodes {
            starts[node + 1] += starts[node];
        }
        let mut next = starts.clone();
        let mut all = vec![Membership::default(); starts[nodes] as usize];
        for_each_membership(nodes, members, |node, membership| {
            all[next[node as usize] as usize] = membership;
            next[node as usize] += 1;
        });
        Memberships { starts, all }
    }

    /// The projects of a node, in order.
    pub fn of_node(&self, node: u32) -> &[Membership] {
        let node = node as usize;
        match (self.starts.get(node), self.starts.get(node + 1)) {
            (Some(from), Some(to)) => &self.all[*from as usize..*to as usize],
            _ => &[],
        }
    }
}

/// Every node of every project once, with its roles, in the order of projects.
fn for_each_membership(nodes: usize, members: &[Members], mut each: impl FnMut(u32, Membership)) {
    // For each node, the last project in which it was seen as a server, and as a client; plus 1.
    let mut server_of = vec![0u32; nodes];
    let mut client_of = vec![0u32; nodes];
    for (at, members) in members.iter().enumerate() {
        let project = position(at);
        let stamp = project.wrapping_add(1);
        members.server_nodes.iter().for_each(|node| server_of[*node as usize] = stamp);
        members.client_nodes.iter().for_each(|node| client_of[*node as usize] = stamp);
        for node in &members.server_nodes {
            each(*node, Membership { project, server: true, client: client_of[*node as usize] == stamp });
        }
        for node in members.client_nodes.iter().filter(|node| server_of[**node as usize] != stamp) {
            each(*node, Membership { project, server: false, client: true });
        }
    }
}
