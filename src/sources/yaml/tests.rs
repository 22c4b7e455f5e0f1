use super::*;

#[test]
fn every_value_knows_its_line_in_the_file() {
    let text =
        "# comment\n---\nkind: A\nspec:\n  ca: |\n    x\n    y\n  n: 3\n--- # second\n\nkind: B\n";
    let documents = documents(text).collect::<Result<Vec<_>, _>>().unwrap();
    // The first part contains only a comment: no document.
    assert_eq!(documents.len(), 2);
    let [a, b] = &documents[..] else { panic!() };
    assert_eq!(
        a.to_json(),
        serde_json::json!({"kind": "A", "spec": {"ca": "x\ny\n", "n": 3}})
    );
    assert_eq!(a.first_line(), 3);
    assert_eq!(a.line_of(&FieldPath::of(&["spec", "n"])), 8);
    assert_eq!(a.line_of(&FieldPath::of(&["spec", "absent", "deeper"])), 5);
    assert_eq!(b.first_line(), 11);
}

#[test]
fn a_list_is_its_items_and_they_keep_their_lines() {
    let text = "kind: List\nitems:\n- kind: A\n- kind: B\n  x: 1\n";
    let documents = documents(text).next().unwrap().unwrap().flatten();
    let kinds: Vec<_> = documents.iter().map(Document::to_json).collect();
    assert_eq!(kinds[1], serde_json::json!({"kind": "B", "x": 1}));
    assert_eq!(documents[1].line_of(&FieldPath::of(&["x"])), 5);
}

#[test]
fn what_is_not_yaml_is_named_by_document_and_line() {
    let error_of = |text| documents(text).find_map(Result::err).unwrap();
    let error = error_of("a: 1\n---\nb: 2\nc: [\n");
    assert_eq!(error.number, 2);
    assert!(error.line >= 4, "{error}");
    let error = error_of("a: 1\na: 2\n");
    assert_eq!((error.number, error.line), (1, 2), "{error}");
    let error = error_of("a: {{ .Values.x }}\n");
    assert!(error.is_template, "{error}");
    // A document next to the broken one is still read.
    let read = documents("a: [\n---\nb: 1\n").flatten();
    assert_eq!(read.count(), 1);
}
