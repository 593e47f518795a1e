//! Which fields an object may have.

/// The fields of one kind of object.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// What the object is, for messages: "host", "server".
    pub(super) what: &'static str,
    pub(super) fields: &'static [&'static str],
    pub(super) required: &'static [&'static str],
    pub(super) unknown_is_error: bool,
    pub(super) missing_comma: Option<(&'static str, &'static str)>,
}

impl Shape {
    /// The most fields that a shape may have.
    pub const MAX_FIELDS: usize = 32;

    /// An object called `what` in messages, with these fields; a field that it does not name is a warning.
    ///
    /// More than [`MAX_FIELDS`](Shape::MAX_FIELDS) fields do not compile when the shape is a constant.
    pub const fn new(what: &'static str, fields: &'static [&'static str]) -> Shape {
        assert!(fields.len() <= Shape::MAX_FIELDS, "a shape has at most 32 fields");
        Shape { what, fields, required: &[], unknown_is_error: false, missing_comma: None }
    }

    /// Fields that must not be missing.
    pub const fn required(self, required: &'static [&'static str]) -> Shape {
        Shape { required, ..self }
    }

    /// An unknown field is an error, not a warning: for objects where a misspelt field does harm.
    pub const fn strict(self) -> Shape {
        Shape { unknown_is_error: true, ..self }
    }

    /// A comma may be missing between these two fields when the second stands in a later line; a warning says so.
    /// For a file that was published with this slip.
    pub(in crate::config) const fn tolerating_missing_comma(
        self,
        between: &'static str,
        and: &'static str,
    ) -> Shape {
        Shape { missing_comma: Some((between, and)), ..self }
    }
}
