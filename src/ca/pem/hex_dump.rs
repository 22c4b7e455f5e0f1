//! Dumps of octets as programs print them: `xxd`, `xxd -i`, `hexdump -C` and `od -t x1`.

/// Fewest digits of the offset at the start of a line.
const MIN_OFFSET: usize = 6;

/// Most digits of it.
const MAX_OFFSET: usize = 16;

/// Fewest octets of a C array that stand beside other words.
const MIN_ARRAY: usize = 8;

/// Returns the hexadecimal digits of the octets in a line of a dump, without its offset and what it
/// shows as text. `None` if the line is of no dump.
pub(super) fn digits(line: &[u8]) -> Option<Vec<u8>> {
    after_offset(line).or_else(|| in_array(line))
}

/// Reads `00000010: 3082 04bd  0...`, `00000010  30 82  |0.|` and `000020 30 82`.
fn after_offset(line: &[u8]) -> Option<Vec<u8>> {
    let offset = line.iter().take_while(|byte| byte.is_ascii_hexdigit());
    let (offset, rest) = line.split_at(offset.count());
    if !(MIN_OFFSET..=MAX_OFFSET).contains(&offset.len()) {
        return None;
    }
    let octets = match rest {
        // `od` ends with an offset alone, which is no half octet.
        [] if !offset.len().is_multiple_of(2) => return Some(Vec::new()),
        [b':', b' ', rest @ ..] => {
            let end = rest.windows(2).position(|pair| pair == b"  ");
            rest.get(..end.unwrap_or(rest.len()))?
        }
        [b' ', rest @ ..] => {
            let end = rest.iter().position(|byte| b"|>".contains(byte));
            let octets = rest.get(..end.unwrap_or(rest.len()))?;
            // Longer groups may be digits without an offset.
            let groups = octets.split(u8::is_ascii_whitespace);
            if !groups
                .into_iter()
                .all(|group| [0, 2].contains(&group.len()))
            {
                return None;
            }
            octets
        }
        _ => return None,
    };
    let digits = octets
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_whitespace());
    let digits: Vec<_> = digits.collect();
    let is_whole = !digits.is_empty() && digits.len().is_multiple_of(2);
    (is_whole && digits.iter().all(u8::is_ascii_hexdigit)).then_some(digits)
}

/// Reads `0x30, 0x82,`, also after `char key[] = {`.
fn in_array(line: &[u8]) -> Option<Vec<u8>> {
    if !line.windows(2).any(|pair| matches!(pair, b"0x" | b"0X")) {
        return None;
    }
    let words = line.split(|byte| !byte.is_ascii_alphanumeric());
    let mut digits = Vec::new();
    let mut has_others = false;
    for word in words.filter(|word| !word.is_empty()) {
        match word {
            [b'0', b'x' | b'X', high, low]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                digits.extend([*high, *low]);
            }
            _ => has_others = true,
        }
    }
    let fewest = if has_others { 2 * MIN_ARRAY } else { 2 };
    (digits.len() >= fewest).then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Option<String> {
        digits(line.as_bytes()).map(|digits| String::from_utf8(digits).unwrap())
    }

    #[test]
    fn lines_of_each_program_are_read() {
        for (line, expected) in [
            ("00000000: 3082 04bd 02  0....", "308204bd02"),
            ("00000000: 3082 04bd 6162 6364  ab cd", "308204bd61626364"),
            (
                "00000000  30 82 04 bd  02 01 00 30  |0......0|",
                "308204bd02010030",
            ),
            ("000000 30 82 04 bd", "308204bd"),
            ("000000 30 82 04 bd  >0...<", "308204bd"),
            ("0x30, 0x82, 0x04,", "308204"),
            ("0x30", "30"),
            ("0000042", ""),
            (
                "char k[] = {0x30,0x82,0x04,0xBD,0x01,0x02,0x03,0x04};",
                "308204BD01020304",
            ),
        ] {
            assert_eq!(read(line).as_deref(), Some(expected), "{line}");
        }
    }

    #[test]
    fn other_lines_are_of_no_dump() {
        for line in [
            "",
            "3082 04bd 0201",
            "30:82:04:bd",
            "30820122 30820122 30820122",
            "000000",
            "00000000: ",
            "00000000: 308",
            "00000000: issuer",
            "decade of 30 82",
            "subject=CN = 0x30",
            "0x3082",
        ] {
            assert_eq!(read(line), None, "{line}");
        }
    }
}
