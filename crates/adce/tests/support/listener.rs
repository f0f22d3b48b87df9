//! An upstream on loopback that answers each connection on a thread of its own, until the test ends.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

pub fn on_each_connection(answer: impl Fn(&TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (address, answer) = (listener.local_addr().expect("bound"), Arc::new(answer));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = answer.clone();
            std::thread::spawn(move || answer(&stream));
        }
    });
    address
}
