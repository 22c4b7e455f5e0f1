//! Logs a lasting condition once.

/// The last message about a condition that may last, such as a failure that is retried. The message
/// is logged once, and again only after it has changed.
#[derive(Debug, Default)]
pub struct LogOnce(Option<String>);

impl LogOnce {
    /// Returns whether `message` differs from the last one, and remembers it.
    #[must_use = "a message that is new is to be logged"]
    pub fn is_new(&mut self, message: &str) -> bool {
        let is_new = self.0.as_deref() != Some(message);
        if is_new {
            self.0 = Some(message.to_owned());
        }
        is_new
    }

    /// Forgets the last message, because the condition is over: any message is new again.
    pub fn clear(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_new_until_it_is_repeated() {
        let mut log = LogOnce::default();
        let is_new = ["", "", "a", "a", "b", "a"].map(|message| log.is_new(message));
        assert_eq!(is_new, [true, false, true, false, true, true]);
        log.clear();
        assert!(log.is_new("a"));
    }
}
