//! Mutations of bundles: mistakes of people and programs, and random changes.

/// Mutates the DER of a certificate, and describes the change.
pub(super) fn mutate_der(der: &mut Vec<u8>, random: &mut Random) -> String {
    let at = random.below(der.len());
    match random.below(8) {
        0 => {
            der.truncate(at);
            format!("cut at {at}")
        }
        1 => {
            der.push(random.byte());
            "one byte more".to_owned()
        }
        2 => {
            der.remove(at);
            format!("without byte {at}")
        }
        3 => {
            let bit = random.below(8);
            der[at] ^= 1 << bit;
            format!("bit {bit} of byte {at}")
        }
        4 => {
            // The interesting bytes are at the start. The end is only the signature.
            let at = random.below(der.len().min(200));
            der[at] = random.byte();
            format!("byte {at} = {}", der[at])
        }
        5 => {
            // Overwrites a byte that may be a tag or a length.
            let small: Vec<_> = (0..der.len()).filter(|at| der[*at] < 0x40).collect();
            let at = small[random.below(small.len())];
            der[at] = [
                1, 2, 3, 4, 5, 6, 0x0c, 0x13, 0x14, 0x16, 0x17, 0x18, 0x1e, 0x30, 0x31, 0x80, 0x82,
                0x86, 0xa0, 0xa3,
            ][random.below(20)];
            format!("tag {at} = {}", der[at])
        }
        _ => {
            der[at] = random.byte();
            format!("byte {at} = {}", der[at])
        }
    }
}

/// Mutates the text of a bundle, and describes the change.
#[expect(clippy::too_many_lines, reason = "one arm for each kind of change")]
pub(super) fn mutate_text(text: &mut Vec<u8>, random: &mut Random) -> String {
    let find = |text: &[u8], needle: &str, random: &mut Random| {
        let needle = needle.as_bytes();
        let all: Vec<_> = (0..text.len())
            .filter(|at| text[*at..].starts_with(needle))
            .collect();
        (!all.is_empty()).then(|| all[random.below(all.len())])
    };
    let at = random.below(text.len().max(1)).min(text.len());
    let kind = random.below(24);
    match kind {
        0 => {
            text.truncate(at);
        }
        1 => {
            text.drain(..at);
        }
        2 if at < text.len() => {
            text[at] ^= 1 << random.below(8);
        }
        3 if at < text.len() => {
            text.remove(at);
        }
        4 => {
            let other = random.below(text.len().max(1)).min(text.len());
            let (from, to) = (at.min(other), at.max(other));
            text.drain(from..to);
        }
        5 => {
            let other = random.below(text.len().max(1)).min(text.len());
            let piece = text[at.min(other)..at.max(other)].to_vec();
            text.splice(at..at, piece);
        }
        6 => {
            // Two blocks joined without a line break: the classic mistake of a merge.
            if let Some(at) = find(text, "\n-----BEGIN", random) {
                text.remove(at);
            }
        }
        7 => replace_all(
            text,
            "\n",
            [
                "\r\n", "\r", " ", "\\n", "\n\n", "\n ", " \n", "\t\n", "\r\r\n",
            ][random.below(9)],
        ),
        8 => {
            text.splice(..0, *b"\xef\xbb\xbf");
        }
        9 => {
            if let Some(at) = find(text, "CERTIFICATE-----\n", random) {
                let header = [
                    "Proc-Type: 4,ENCRYPTED\n",
                    "a:b\n\n",
                    ":\n",
                    "note\n",
                    "\n",
                    "-\n",
                ][random.below(6)];
                text.splice(at + 17..at + 17, header.bytes());
            }
        }
        10 => {
            if let Some(at) = find(text, "CERTIFICATE", random) {
                let label = [
                    "TRUSTED CERTIFICATE",
                    "X509 CERTIFICATE",
                    "certificate",
                    "",
                    "CERTIFICATE ",
                    "X-----CERTIFICATE",
                    "PUBLIC KEY",
                ][random.below(7)];
                text.splice(at..at + 11, label.bytes());
            }
        }
        11 => {
            let label = [
                "TRUSTED CERTIFICATE",
                "X509 CERTIFICATE",
                "PUBLIC KEY",
                "X509 CRL",
            ][random.below(4)];
            replace_all(text, "CERTIFICATE", label);
        }
        12 => {
            let noise = [
                " ",
                "\t",
                "\n",
                "\r",
                "\r\n",
                "-",
                "=",
                "A",
                "\0",
                "é",
                "-----",
                "-----BEGIN ",
                "-----END ",
                "\n-----END CERTIFICATE-----\n",
                "\n-----BEGIN CERTIFICATE-----\n",
            ][random.below(15)];
            text.splice(at..at, noise.bytes());
        }
        13 => {
            if let Some(at) = find(text, "-----", random) {
                let noise = [" ", "\t", "-", "x", "\r", "\u{feff}", "  "][random.below(7)];
                text.splice(at..at, noise.bytes());
            }
        }
        14 => {
            if let Some(at) = find(text, "-----\n", random) {
                let noise = [" ", "\t ", "-", "x", "\r", " x"][random.below(6)];
                text.splice(at + 5..at + 5, noise.bytes());
            }
        }
        15 => {
            if let Some(at) = find(text, "\n-----END", random) {
                // The last characters of the base64 data, where the padding is.
                let at = at.saturating_sub(random.below(4));
                text.splice(
                    at..at,
                    ["=", "==", "A", "\n", "=\n=", " "][random.below(6)].bytes(),
                );
            }
        }
        16 => {
            let texts = [
                "Subject: CN=a\nIssuer: b\n",
                "# comment\n",
                "a:b\n",
                "====\n",
                "--\n",
                "-----BEGIN\n",
            ];
            let piece = texts[random.below(6)];
            let at = find(text, "-----BEGIN", random).unwrap_or(0);
            text.splice(at..at, piece.bytes());
        }
        17 => {
            while text.last().is_some_and(u8::is_ascii_whitespace) {
                text.pop();
            }
            text.extend([&b""[..], b"\r", b" ", b"\t", b"\n\n", b"x"][random.below(6)]);
        }
        18 => {
            if let Some(at) = find(text, "-----", random) {
                text.remove(at);
            }
        }
        19 => {
            // The dashes of a word processor, of a chat, and of nobody.
            let begin = ["-----BEGIN", "-----END"][random.below(2)];
            if let Some(at) = find(text, begin, random) {
                let dashes = ["----", "------", "—–", "", "=====", "----- "][random.below(6)];
                text.splice(at..at + 5, dashes.bytes());
            }
        }
        20 => {
            let sign = ["# ", "#", "// ", ";"][random.below(4)];
            let from = find(text, "\n-----BEGIN", random).unwrap_or(0);
            let lines: Vec<_> = (from..text.len())
                .filter(|at| text[*at] == b'\n')
                .take(1 + random.below(30))
                .collect();
            for at in lines.into_iter().rev() {
                text.splice((at + 1)..=at, sign.bytes());
            }
        }
        _ => return "left alone".to_owned(),
    }
    format!("text mutation {kind} at {at}")
}

fn replace_all(text: &mut Vec<u8>, from: &str, to: &str) {
    // Byte by byte, because the text may no longer be UTF-8.
    let mut replaced = Vec::with_capacity(text.len());
    let mut rest = text.as_slice();
    while !rest.is_empty() {
        if rest.starts_with(from.as_bytes()) {
            replaced.extend(to.bytes());
            rest = &rest[from.len()..];
        } else {
            replaced.push(rest[0]);
            rest = &rest[1..];
        }
    }
    *text = replaced;
}

/// SplitMix64: small, and with the same output on every platform.
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `limit`.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit).unwrap()).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}
