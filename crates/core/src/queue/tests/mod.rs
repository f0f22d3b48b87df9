//! The dispatcher against worlds that it does not know.

mod attempts;
mod by_hand;
mod cycle;
mod doubts;
mod foresight;
mod guests;
mod memory;
mod order;
mod pauses;
mod permits;
mod reconfigure;
mod reserve;
mod story;
mod useful;
mod values;
mod waits;
mod world;
