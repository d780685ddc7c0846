//! When which tracker of a torrent is asked.
