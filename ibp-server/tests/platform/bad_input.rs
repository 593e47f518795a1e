crate::tests!(nothing);
fn nothing() {}
