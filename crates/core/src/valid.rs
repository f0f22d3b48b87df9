//! Is a collected file what it claims to be? (`valid:` of a dataset.)
