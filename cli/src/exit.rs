//! Exit codes, the same for every way of calling.

use std::process::ExitCode;

use headwater_engine::{Error, ErrorKind};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Success = 0,
    /// The command line is wrong, or a file it names cannot be read.
    Usage = 1,
    /// The server cannot be reached, or the data directory cannot be opened.
    Connection = 2,
    /// A statement failed.
    Sql = 3,
    /// Test cases failed.
    Tests = 4,
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

impl From<&Error> for Exit {
    fn from(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::Unavailable | ErrorKind::Storage => Exit::Connection,
            ErrorKind::Parse | ErrorKind::Statement | ErrorKind::NotFound | ErrorKind::Limit | ErrorKind::Internal => {
                Exit::Sql
            }
        }
    }
}

/// Says what is wrong with the call.
pub fn usage<T>(message: &str) -> Result<T, Exit> {
    eprintln!("error: {message}");
    eprintln!("headwater --help lists what can be given");
    Err(Exit::Usage)
}
