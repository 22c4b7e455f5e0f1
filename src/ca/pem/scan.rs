//! A scanner for the blocks of a PEM text.

use super::fault::{Fault, Kind};
use super::lines::{Line, Position, find, is_blank, is_comment, lines, names_private_key};
use super::marker::{self, Marker};
use super::text::{self, Text};
use crate::ca::certificate::Fingerprint;

const BEGIN: &[u8] = b"-----BEGIN";
const END: &[u8] = b"-----END";
const DASHES: &[u8] = b"-----";

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
            identity: (kind != Kind::PrivateKey).then(|| Fingerprint::of(self.body)),
        }
    }
}

/// A block before its END line is seen.
struct OpenBlock<'a> {
    number: usize,
    at: Position,
    body: usize,
    label: &'a [u8],
    /// The fault of its BEGIN line.
    fault: Option<Kind>,
    /// Whether its BEGIN line is damaged, so that it may be text.
    is_damaged: bool,
}

/// Calls `found` for everything in `bytes`, until there were `max` blocks and faults. Returns what
/// was not read then.
pub(super) fn for_each_block<'a>(
    bytes: &'a [u8],
    max: usize,
    found: &mut dyn FnMut(Result<Block<'a>, Fault>),
) -> Option<Unread<'a>> {
    let mut scan = Scan {
        bytes,
        found,
        room: max,
        text: Position { line: 1, start: 0 },
        open: None,
        count: 0,
        unread: None,
    };
    for line in lines(bytes) {
        scan.line(line);
        if scan.unread.is_some() {
            break;
        }
    }
    if scan.unread.is_none() {
        let end = Position {
            line: 0,
            start: bytes.len(),
        };
        scan.truncate(end);
        scan.end_text(bytes.len(), false);
    }
    let Position { line, start } = scan.unread?;
    let bytes = bytes.get(start..).unwrap_or(&[]);
    Some(Unread { line, bytes })
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
    /// Where the text after the last block begins.
    text: Position,
    open: Option<OpenBlock<'a>>,
    count: usize,
    /// Where reading stopped because there is no more room.
    unread: Option<Position>,
}

impl<'a> Scan<'a, '_> {
    fn line(&mut self, line: Line<'a>) {
        // Most lines are base64.
        let has_dash = line.text.contains(&b'-');
        if has_dash && self.room == 0 {
            let open = self.open.as_ref();
            self.unread = Some(open.map_or_else(|| line.position(), |open| open.at));
        } else if self.open.is_none() && is_comment(line.text) {
            // Go sees no block in it, and nobody means it to.
        } else if has_dash && let Some(at) = find(line.text, BEGIN) {
            if self.open.is_some() || !text::only_mentions_a_block(line.text, at) {
                self.begin(line, at);
            }
        } else if has_dash && let Some(at) = find(line.text, END) {
            self.end(line, at);
        } else if let Some(marker) = marker::damaged(line.text) {
            if self.room == 0 {
                self.unread = Some(line.position());
            } else {
                self.damaged(line, marker);
            }
        }
    }

    /// Handles a line with at least one BEGIN, the first of which is at the offset `at`.
    fn begin(&mut self, line: Line<'a>, at: usize) {
        let (before, marked) = line.text.split_at(at);
        let is_glued = find(before, END).is_some();
        // Go drops both of two glued blocks. One fault, at the second block, is enough to report
        // that. A private key is always reported.
        match &self.open {
            Some(open) if is_glued && open.fault != Some(Kind::PrivateKey) => {
                self.open = None;
                self.text = line.position();
            }
            _ => self.truncate(line.position()),
        }
        let after = marked.get(BEGIN.len()..).unwrap_or(&[]);
        let is_alone = find(after, BEGIN).is_none() && find(after, END).is_none();
        let label = after
            .strip_prefix(b" ")
            .and_then(|label| label.strip_suffix(DASHES));
        let fault = if names_private_key(marked) {
            Some(Kind::PrivateKey)
        } else if is_glued {
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
        self.open(line, label.unwrap_or(&[]), fault);
        // Further blocks on the same line have the same fault and are only counted.
        let mut rest = after;
        while let Some(at) = find(rest, BEGIN) {
            self.count += 1;
            rest = rest.get(at + BEGIN.len()..).unwrap_or(&[]);
        }
        if find(rest, END).is_some() {
            self.truncate(line.end());
        }
    }

    /// Handles a line with an END, at the offset `at`, and no BEGIN.
    fn end(&mut self, line: Line<'a>, at: usize) {
        let names_private_key = names_private_key(line.text);
        let Some(open) = self.open.take() else {
            // The content before it has lost its BEGIN line, and is not reported again.
            self.end_text(line.start, true);
            let kind = if names_private_key {
                Kind::PrivateKey
            } else {
                Kind::OrphanEnd
            };
            self.report(kind, None, line.position(), line.next);
            self.text = line.end();
            return;
        };
        self.text = line.end();
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
        } else if names_private_key {
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
            let (number, line) = (open.number, open.at.line);
            self.room = self.room.saturating_sub(1);
            return (self.found)(Ok(Block { number, line, body }));
        };
        self.report(fault, Some(open.number), open.at, line.next);
    }

    /// Handles a damaged BEGIN or END line.
    fn damaged(&mut self, line: Line<'a>, marker: Marker) {
        let kind = match marker {
            Marker {
                names_private_key: true,
                ..
            } => Kind::PrivateKey,
            Marker {
                is_begin: true,
                damage,
                ..
            } => Kind::DamagedBegin(damage),
            Marker { damage, .. } => Kind::DamagedEnd(damage),
        };
        if marker.is_begin {
            self.truncate(line.position());
            self.open(line, &[], Some(kind));
            if let Some(open) = &mut self.open {
                open.is_damaged = true;
            }
        } else if let Some(open) = self.open.take() {
            let kind = open.fault.unwrap_or(kind);
            self.report(kind, Some(open.number), open.at, line.next);
            self.text = line.end();
        }
    }

    fn open(&mut self, line: Line<'a>, label: &'a [u8], fault: Option<Kind>) {
        self.end_text(line.start, false);
        self.count += 1;
        self.open = Some(OpenBlock {
            number: self.count,
            at: line.position(),
            body: line.next,
            label,
            fault,
            is_damaged: false,
        });
    }

    /// Ends the open block, if there is one, before `end`, without an END line.
    fn truncate(&mut self, end: Position) {
        let Some(open) = self.open.take() else {
            return;
        };
        let body = self.bytes.get(open.body..end.start).unwrap_or(&[]);
        if open.is_damaged && !text::has_content(body) {
            // Words that begin a block, and no block: text. They take room, because they take time.
            self.count -= 1;
            self.room = self.room.saturating_sub(1);
            self.text = open.at;
            return;
        }
        let kind = open.fault.unwrap_or(Kind::Truncated);
        self.report(kind, Some(open.number), open.at, end.start);
        self.text = end;
    }

    /// Examines the text that ends at the offset `end`. It is the `tail` of a block if an END line
    /// follows.
    fn end_text(&mut self, end: usize, is_tail: bool) {
        let Position { line, start } = self.text;
        let bytes = self.bytes.get(start..end).unwrap_or(&[]);
        let text = Text {
            bytes,
            line,
            is_tail,
        };
        let (room, unread, found) = (&mut self.room, &mut self.unread, &mut self.found);
        text::faults(text, &mut |fault| {
            if *room == 0 {
                unread.get_or_insert(Position { line, start });
            } else {
                *room -= 1;
                found(Err(fault));
            }
        });
    }

    /// Reports a fault of what is between `at` and the offset `end`.
    fn report(&mut self, kind: Kind, block: Option<usize>, at: Position, end: usize) {
        let bytes = self.bytes.get(at.start..end).unwrap_or(&[]);
        let is_key = kind == Kind::PrivateKey || text::has_private_key(bytes);
        let kind = if is_key { Kind::PrivateKey } else { kind };
        self.room = self.room.saturating_sub(1);
        (self.found)(Err(Fault {
            kind,
            block,
            line: at.line,
            identity: (!is_key).then(|| Fingerprint::of(bytes)),
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
