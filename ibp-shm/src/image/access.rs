//! Who may ask whom for what.

use super::layout::{ACCESS_OPEN, AppRecord, NodeRecord, Roles};
use super::read::Image;

impl Image<'_> {
    /// Whether some project has the client, the server and the app in their roles; `true` if access is open
    /// to all.
    pub fn permits(&self, client: &str, server: &str, app: &str) -> bool {
        let Some(header) = self.header() else { return false };
        if header.access == ACCESS_OPEN {
            return true;
        }
        let (Some(client), Some(server)) = (self.roles(client), self.roles(server)) else { return false };
        let Some((_, app)) = self.find::<AppRecord>(app) else { return false };
        share_one(self.projects(client.client), self.projects(server.server), self.projects(app.projects))
    }

    fn roles(&self, node: &str) -> Option<Roles> {
        if let Some((_, node)) = self.find::<NodeRecord>(node) {
            return Some(node.roles);
        }
        let header = self.header()?;
        (self.text(header.this_node) == node).then_some(header.this_roles)
    }
}

/// Whether three ascending lists have a number in common. Looks at each number once.
pub(super) fn share_one(mut a: &[u32], mut b: &[u32], mut c: &[u32]) -> bool {
    while let ([x, rest_a @ ..], [y, rest_b @ ..], [z, rest_c @ ..]) = (a, b, c) {
        if x == y && y == z {
            return true;
        }
        let largest = x.max(y).max(z);
        if x < largest {
            a = rest_a;
        }
        if y < largest {
            b = rest_b;
        }
        if z < largest {
            c = rest_c;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::share_one;

    #[test]
    fn three_lists_share_a_number_or_not() {
        assert!(share_one(&[1, 5, 9], &[2, 5], &[0, 3, 5, 7]));
        assert!(!share_one(&[1, 5, 9], &[2, 5], &[0, 3, 6, 9]));
        assert!(!share_one(&[], &[1], &[1]));
        assert!(share_one(&[u32::MAX], &[0, u32::MAX], &[u32::MAX]));
        // Descending lists, as damage may leave them: any answer, but an answer.
        let _ = share_one(&[9, 5, 1], &[9, 5, 1], &[1, 5, 9]);
    }
}
