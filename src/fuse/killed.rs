//! Requests whose programs have been killed are answered at once.
//!
//! A program that is killed while it waits for an answer is ended by the kernel only when the answer comes. FUSE has a
//! message for that, `FUSE_INTERRUPT`, which the library refuses; from then on the kernel sends none. But the signal is
//! on record meanwhile: `SigPnd` and `ShdPnd` of the waiting thread in `/proc` have the bit of SIGKILL, which the kernel
//! also sets for any other signal that ends a program (proc_pid_status(5)).

use std::fs;
use std::pin::pin;
use std::time::Duration;

use crate::fs::{Errno, Result};

/// How long a request waits before its program is looked at, and from one look to the next.
const INTERVAL: Duration = Duration::from_millis(400);

/// SIGKILL in the masks of signals: bit 8 stands for signal 9.
const SIGKILL: u64 = 1 << (libc::SIGKILL - 1);

/// The result of an operation for a thread, or EINTR as soon as that has been killed. The operation is dropped then. A
/// thread of 0 is one that this process cannot see.
pub async fn unless_killed<T>(thread: u32, operation: impl Future<Output = Result<T>>) -> Result<T> {
    let mut operation = pin!(operation);
    tokio::select! {
        biased;
        result = &mut operation => result,
        () = killed(thread) => Err(Errno::EINTR),
    }
}

/// Returns when the thread has been killed.
async fn killed(thread: u32) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        let status = fs::read_to_string(format!("/proc/{thread}/status"));
        if status.is_ok_and(|status| is_killed(&status)) {
            return;
        }
    }
}

/// Whether SIGKILL is pending by the status of a thread.
fn is_killed(status: &str) -> bool {
    let masks = status.lines().filter_map(|line| line.strip_prefix("SigPnd:").or_else(|| line.strip_prefix("ShdPnd:")));
    masks.filter_map(|mask| u64::from_str_radix(mask.trim(), 16).ok()).any(|mask| mask & SIGKILL != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pending_sigkill_is_seen_and_nothing_else() {
        let status = |thread: &str, process: &str| {
            format!("Name:\tcat\nSigQ:\t1/95000\nSigPnd:\t{thread}\nShdPnd:\t{process}\nSigBlk:\tffffffffffffffff\n")
        };
        assert!(is_killed(&status("0000000000000100", "0000000000000000")));
        assert!(is_killed(&status("0000000000000000", "0000000000004100")));
        assert!(!is_killed(&status("0000000000000002", "0000000000000000")));
        assert!(!is_killed("") && !is_killed("SigPnd:\tnone"));
    }

    #[tokio::test(start_paused = true)]
    async fn an_operation_for_a_living_or_an_unknown_thread_goes_on() {
        for thread in [std::process::id(), 0] {
            let slow = async {
                tokio::time::sleep(60 * INTERVAL).await;
                Ok(7)
            };
            assert_eq!(unless_killed(thread, slow).await.ok(), Some(7));
        }
    }
}
