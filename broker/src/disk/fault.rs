use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// The exit code after a [`Fault`]: an input or output error, as `sysexits.h` numbers them. A supervisor may start the
/// broker again at once.
pub const EX_IOERR: i32 = 74;

/// The disk failed while something was being made durable: whether it is stored can only be seen by reading it again.
///
/// Going on would be worse than ending. After a failed `fsync` the system may have dropped the pages and report success
/// the next time, so a broker that tried again would acknowledge what is lost.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    /// Which file.
    pub path: PathBuf,
    /// What the system says.
    pub detail: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, detail) = (self.path.display(), &self.detail);
        write!(
            f,
            "the disk failed while {path} was written ({detail}); what was acknowledged is stored, what was under way may \
             be: the broker ends, and reads what is there when it starts again. Look at the system's log and at the disk \
             first"
        )
    }
}

/// Who is called then. In service [`end_process`], in a test something that remembers.
pub type OnFault = Arc<dyn Fn(&Fault) + Send + Sync>;

/// Says what happened and what to do, and ends the process with [`EX_IOERR`].
pub fn end_process() -> OnFault {
    Arc::new(|fault| {
        tracing::error!("{fault}");
        std::process::exit(EX_IOERR);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_says_what_happened_and_what_to_do() {
        let fault = Fault {
            path: "data/state.db".into(),
            detail: "disk I/O error".into(),
        };
        let text = fault.to_string();
        for part in [
            "data/state.db",
            "disk I/O error",
            "starts again",
            "system's log",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }
}
