//! Waiting, threads, retries: the life of tasks and queries.
