//! Real-time priority for a thread that others take for dead when it is late.

/// Under which rules a thread gets the processor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Regime {
    /// Before everything that is not real-time.
    RealTime,
    /// As everybody else.
    #[default]
    Ordinary,
}

/// Above everything ordinary, below everything that the machine's owner has made real-time himself.
const PRIORITY: i32 = 1;

/// Asks for real-time scheduling of this thread. The kernel grants it to root and with CAP_SYS_NICE; without it the
/// thread runs as all others do, and is late when the machine is busy.
pub fn claim() -> Regime {
    // SAFETY: sched_param is plain data, and zero is a valid value for all of it.
    let mut parameters: libc::sched_param = unsafe { std::mem::zeroed() };
    parameters.sched_priority = PRIORITY;
    // SAFETY: the pointer is to a local that outlives the call; 0 means the calling thread.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) };
    if result == 0 { Regime::RealTime } else { Regime::Ordinary }
}
