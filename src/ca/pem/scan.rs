//! A scanner for the blocks of a PEM text.

use super::fault::{Fault, Kind};
use crate::ca::certificate::Fingerprint;

const BEGIN: &[u8] = b"-----BEGIN";
const END: &[u8] = b"-----END";
const DASHES: &[u8] = b"-----";

/// A line of the text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    /// The line's number, starting at one.
    pub(super) number: usize,
    /// Offset of the line.
    pub(super) start: usize,
    /// The text as Go sees it, without the newline and the blanks before it.
    pub(super) text: &'a [u8],
    /// Offset of the next line.
    pub(super) next: usize,
}

/// Returns the lines of `bytes`.
pub(super) fn lines(bytes: &[u8]) -> impl Iterator<Item = Line<'_>> {
    let mut start = 0;
    bytes
        .split_inclusive(|byte| *byte == b'\n')
        .enumerate()
        .map(move |(index, whole)| {
            // A carriage return only counts as part of a line end if a newline follows.
            let text = match whole {
                [text @ .., b'\r', b'\n'] | [text @ .., b'\n'] | text => text,
            };
            let blanks = text
                .iter()
                .rev()
                .take_while(|byte| matches!(byte, b' ' | b'\t'));
            let length = text.len() - blanks.count();
            let line = Line {
                number: index + 1,
                start,
                text: text.get(..length).unwrap_or(text),
                next: start + whole.len(),
            };
            start = line.next;
            line
        })
}

/// A CERTIFICATE block with well-formed BEGIN and END lines.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block<'a> {
    pub(super) number: usize,
    pub(super) line: usize,
    /// The text between the two lines.
    pub(super) body: &'a [u8],
}

impl Block<'_> {
    pub(super) fn fault(&self, kind: Kind) -> Fault {
        Fault {
            kind,
            block: Some(self.number),
            line: self.line,
            identity: Some(Fingerprint::of(self.body)),
        }
    }
}

/// A block before its END line is seen.
struct OpenBlock<'a> {
    number: usize,
    line: usize,
    begin: usize,
    body: usize,
    label: &'a [u8],
    /// The fault of its BEGIN line.
    fault: Option<Kind>,
}

/// Calls `found` for every block and every fault of `bytes`, until there were `max` of them. Returns
/// the line at which it stopped, if it did.
pub(super) fn for_each_block<'a>(
    bytes: &'a [u8],
    max: usize,
    found: &mut dyn FnMut(Result<Block<'a>, Fault>),
) -> Option<Unread<'a>> {
    let mut scan = Scan {
        bytes,
        found,
        open: None,
        count: 0,
        room: max,
    };
    for line in lines(bytes) {
        if !line.text.contains(&b'-') {
            continue;
        }
        if scan.room == 0 {
            let open = scan.open.as_ref();
            let (line, start) =
                open.map_or((line.number, line.start), |open| (open.line, open.begin));
            let bytes = bytes.get(start..).unwrap_or(&[]);
            return Some(Unread { line, bytes });
        }
        if find(line.text, BEGIN).is_some() {
            scan.begin(line);
        } else if let Some(at) = find(line.text, END) {
            scan.end(line, at);
        }
    }
    scan.truncate(bytes.len());
    None
}

/// What was not read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unread<'a> {
    /// The number of its first line.
    pub(super) line: usize,
    pub(super) bytes: &'a [u8],
}

struct Scan<'a, 'f> {
    bytes: &'a [u8],
    found: &'f mut dyn FnMut(Result<Block<'a>, Fault>),
    /// How many blocks and faults are still called.
    room: usize,
    open: Option<OpenBlock<'a>>,
    count: usize,
}

impl<'a> Scan<'a, '_> {
    /// Handles a line with at least one BEGIN.
    fn begin(&mut self, line: Line<'a>) {
        let at = find(line.text, BEGIN).unwrap_or(0);
        let (before, marked) = line.text.split_at(at);
        let is_glued = find(before, END).is_some();
        // Go drops both of two glued blocks. One fault, at the second block, is enough to report
        // that. A private key is always reported.
        match &self.open {
            Some(open) if is_glued && open.fault != Some(Kind::PrivateKey) => self.open = None,
            _ => self.truncate(line.start),
        }
        let after = marked.get(BEGIN.len()..).unwrap_or(&[]);
        let is_alone = find(after, BEGIN).is_none() && find(after, END).is_none();
        let label = after
            .strip_prefix(b" ")
            .and_then(|label| label.strip_suffix(DASHES));
        let fault = if is_glued {
            Some(Kind::Glued)
        } else if before == b"\xef\xbb\xbf" {
            Some(Kind::ByteOrderMark)
        } else if is_blank(before) && !before.is_empty() {
            Some(Kind::Indented)
        } else if !before.is_empty() {
            Some(Kind::TextBefore)
        } else if is_alone && label.is_some() {
            None
        } else if find(after, b"\\n").is_some() {
            Some(Kind::LiteralNewlines)
        } else if after.contains(&b'\r') {
            Some(Kind::CarriageReturns)
        } else if find(after, END).is_some() {
            Some(Kind::OneLine)
        } else {
            Some(Kind::BrokenBegin)
        };
        self.count += 1;
        let is_key = names_private_key(marked);
        let open = OpenBlock {
            number: self.count,
            line: line.number,
            begin: line.start,
            body: line.next,
            label: label.unwrap_or(&[]),
            fault: if is_key {
                Some(Kind::PrivateKey)
            } else {
                fault
            },
        };
        // Further blocks on the same line have the same fault and are only counted.
        let mut rest = after;
        while let Some(at) = find(rest, BEGIN) {
            self.count += 1;
            rest = rest.get(at + BEGIN.len()..).unwrap_or(&[]);
        }
        self.open = Some(open);
        if find(rest, END).is_some() {
            self.truncate(line.next);
        }
    }

    /// Handles a line with an END and no BEGIN.
    fn end(&mut self, line: Line<'a>, at: usize) {
        let Some(open) = self.open.take() else {
            let kind = if names_private_key(line.text) {
                Kind::PrivateKey
            } else {
                Kind::OrphanEnd
            };
            return self.report(kind, None, line.number, line.start..line.next);
        };
        let whole = open.begin..line.next;
        let before = line.text.get(..at).unwrap_or(&[]);
        let body = self.bytes.get(open.body..line.start).unwrap_or(&[]);
        let label = line
            .text
            .strip_prefix(END)
            .and_then(|end| end.strip_prefix(b" "))
            .and_then(|end| end.strip_suffix(DASHES));
        let has_headers = lines(body)
            .next()
            .is_some_and(|line| line.text.contains(&b':'));
        let fault = if let Some(kind) = open.fault {
            kind
        } else if names_private_key(line.text) {
            Kind::PrivateKey
        } else if let Some(kind) = other_kind(open.label) {
            kind
        } else if is_blank(before) && !before.is_empty() {
            Kind::Indented
        } else if !before.is_empty() {
            Kind::TextBefore
        } else if label != Some(open.label) {
            Kind::EndMismatch
        } else if has_headers {
            Kind::Headers
        } else {
            let OpenBlock { number, line, .. } = open;
            self.room = self.room.saturating_sub(1);
            return (self.found)(Ok(Block { number, line, body }));
        };
        self.report(fault, Some(open.number), open.line, whole);
    }

    /// Ends the open block, if there is one, at the offset `end`, without an END line.
    fn truncate(&mut self, end: usize) {
        if let Some(open) = self.open.take() {
            let kind = open.fault.unwrap_or(Kind::Truncated);
            self.report(kind, Some(open.number), open.line, open.begin..end);
        }
    }

    fn report(
        &mut self,
        kind: Kind,
        block: Option<usize>,
        line: usize,
        at: std::ops::Range<usize>,
    ) {
        let bytes = self.bytes.get(at).unwrap_or(&[]);
        self.room = self.room.saturating_sub(1);
        (self.found)(Err(Fault {
            kind,
            block,
            line,
            identity: (kind != Kind::PrivateKey).then(|| Fingerprint::of(bytes)),
        }));
    }
}

/// Returns the fault of a block with another label than CERTIFICATE. The label itself is not
/// repeated.
fn other_kind(label: &[u8]) -> Option<Kind> {
    let name = match label {
        b"CERTIFICATE" => return None,
        b"TRUSTED CERTIFICATE" => "a TRUSTED CERTIFICATE, which only OpenSSL reads",
        b"X509 CERTIFICATE" => "an X509 CERTIFICATE, a label that Go does not read",
        b"CERTIFICATE REQUEST" | b"NEW CERTIFICATE REQUEST" => "a certificate request",
        b"X509 CRL" => "a revocation list",
        b"PKCS7" | b"CMS" => "a PKCS#7 container",
        b"PUBLIC KEY" | b"RSA PUBLIC KEY" => "a public key",
        b"DH PARAMETERS" | b"EC PARAMETERS" => "a set of key parameters",
        _ => "a block of another kind",
    };
    Some(Kind::NotACertificate(name))
}

/// Whether `text` looks like the BEGIN or END line of a private key.
pub(super) fn names_private_key(text: &[u8]) -> bool {
    find(text, DASHES).is_some() && find(text, b"PRIVATE KEY").is_some()
}

fn is_blank(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_whitespace)
}

/// Returns the offset of `needle` in `text`.
pub(super) fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    let first = needle.first()?;
    let mut from = 0;
    loop {
        let rest = text.get(from..)?;
        let at = from + rest.iter().position(|byte| byte == first)?;
        if text.get(at..)?.starts_with(needle) {
            return Some(at);
        }
        from = at + 1;
    }
}
