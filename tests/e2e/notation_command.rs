//! Does the program that stands in for `notation` say what `notation` says?
//!
//! Each line of a script is run by both on the same inputs; what they write and their exit statuses are compared byte for
//! byte. Where both have to write, each has a home and a repository of its own, with names of one length.

mod alone;
mod login;
mod pair;
mod plugins;
mod signatures;
