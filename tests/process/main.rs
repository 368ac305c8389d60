//! The built binary, run as a user runs it: arguments, pipes, exit codes, a terminal, real clients.

mod bad_input;
mod clients;
mod crash;
mod loading;
mod outputs;
mod server;
mod shell;
mod support;
