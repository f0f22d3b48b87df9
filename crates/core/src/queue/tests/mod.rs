//! The dispatcher against a world that it does not know.

mod world;

mod attempts;
