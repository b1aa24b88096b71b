//! The program that a request came from, as far as it matters to those that take long: whether it was killed.
//!
//! Interrupts of requests do not reach us, and a program that was killed waits until it is answered. What shows is that
//! its SIGKILL is pending.

use std::time::Duration;

/// A request that takes no longer than this ends by itself soon enough.
const PATIENCE: Duration = Duration::from_millis(500);

/// How often a program is looked at then.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// SIGKILL in a mask of signals: they are counted from 1.
const KILL: u64 = 1 << (libc::SIGKILL - 1);

/// Returns when the program of this number (of a thread) is killed or gone; never for 0, a program that is not visible
/// from here.
pub async fn killed(pid: u32) {
    if pid == 0 {
        return std::future::pending().await;
    }
    tokio::time::sleep(PATIENCE).await;
    // Made by the kernel from memory: nothing is waited for.
    while std::fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| !is_killed(&status)) {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Whether a SIGKILL is pending for a thread or its process (`proc_pid_status(5)`).
fn is_killed(status: &str) -> bool {
    let masks = status.lines().filter_map(|line| line.strip_prefix("SigPnd:").or_else(|| line.strip_prefix("ShdPnd:")));
    masks.filter_map(|mask| u64::from_str_radix(mask.trim(), 16).ok()).any(|mask| mask & KILL != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pending_sigkill_shows() {
        let status =
            |thread: &str, process: &str| format!("Name:\tcat\nSigPnd:\t{thread}\nShdPnd:\t{process}\nSigBlk:\t0100\n");
        let (none, kill) = ("0000000000000000", "0000000000000100");
        assert!(is_killed(&status(kill, none)) && is_killed(&status(none, kill)));
        assert!(!is_killed(&status(none, none)) && !is_killed(&status("0000000000000002", none)) && !is_killed(""));
    }

    #[tokio::test(start_paused = true)]
    async fn who_lives_is_waited_for_and_who_is_gone_is_not() {
        let within = |pid| tokio::time::timeout(Duration::from_secs(60), killed(pid));
        assert!(within(std::process::id()).await.is_err() && within(0).await.is_err());
        // No process has this number (PID_MAX_LIMIT).
        assert!(within(1 << 30).await.is_ok());
    }
}
