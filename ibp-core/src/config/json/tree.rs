//! A whole text as a tree of values with their places. It takes several times the memory of the text: for finding
//! places again and for changing a text, not for reading configurations.

use std::borrow::Cow;

use super::reader::Reader;
use super::source::{Source, Span};

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(in crate::config) struct Tree<'a> {
    /// The value with its quotes or brackets.
    pub span: Span,
    pub value: Value<'a>,
}

#[derive(Debug, Clone)]
pub(in crate::config) enum Value<'a> {
    Object(Vec<Member<'a>>),
    List(Vec<Tree<'a>>),
    Text(Cow<'a, str>),
    /// A number or a word.
    Bare(&'a str),
    /// What could not be read.
    Nothing,
}

/// A field of an object.
#[derive(Debug, Clone)]
pub(in crate::config) struct Member<'a> {
    pub key: Cow<'a, str>,
    pub key_span: Span,
    pub value: Tree<'a>,
}

impl<'a> Tree<'a> {
    /// The text as a tree, and whether it is free of errors of form.
    pub fn of(source: Source<'a>) -> (Tree<'a>, bool) {
        let mut reader = Reader::new(source);
        let tree = reader.tree();
        let complete = !reader.has_errors() && reader.peek().is_none();
        (tree, complete)
    }

    /// The field of this name, if this is an object that has it.
    pub fn member(&self, key: &str) -> Option<&Member<'a>> {
        match &self.value {
            Value::Object(members) => members.iter().find(|member| member.key == key),
            _ => None,
        }
    }

    /// The value of a field.
    pub fn get(&self, key: &str) -> Option<&Tree<'a>> {
        self.member(key).map(|member| &member.value)
    }

    /// The items, if this is a list.
    pub fn items(&self) -> &[Tree<'a>] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// The text, if this is text or a word or number without quotes.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            Value::Bare(word) => Some(word),
            _ => None,
        }
    }
}

impl<'a> Reader<'a> {
    /// Takes any value as a tree.
    fn tree(&mut self) -> Tree<'a> {
        let value = match self.peek() {
            Some(b'{') => {
                let mut members = Vec::new();
                self.map("object", |reader, key, key_span| {
                    members.push(Member { key, key_span, value: reader.tree() });
                });
                Value::Object(members)
            }
            Some(b'[') => {
                let mut items = Vec::new();
                self.list(|reader| items.push(reader.tree()));
                Value::List(items)
            }
            _ => self.any_scalar(),
        };
        Tree { span: self.value_span(), value }
    }
}
