//! A network in which there is nothing but the gateway: `egress: gateway`.
//!
//! Variables only ask a program to use the gateway, and one that does not read them sends its requests past every limit. In here
//! the kernel has no way out for it. The command begins in a network namespace of its own, whose loopback is all there is;
//! on it, at the very address by which the gateway is known outside, a socket waits that the gateway accepts from: a socket
//! belongs to the namespace in which it was made, so nobody has to carry bytes across. The command needs to know nothing of that,
//! and what it starts, or leaves behind, is enclosed as well.
//!
//! Whoever may make network namespaces (root) makes just that. Everybody else makes a user namespace with it, in which he is who he
//! was, so that files are owned and read as before.
//!
//! Always true: a command that was to be enclosed and cannot be does not begin (`who_cannot_be_enclosed_does_not_begin`). And
//! [`Enclosure::enter`] makes system calls and nothing else: the memory that it runs in is its parent's (see [`launch`](crate::launch)).
//!
//! Root can leave again (`nsenter`), as root can do everything. This is about requests that nobody thought of, not about malice.

use std::cell::Cell;
use std::io;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::libc::{self, c_char, c_short};
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{Mode, OFlags};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags,
    SocketType,
};

use crate::launch::Plan;

/// Of one command, before it begins.
pub(crate) struct Enclosure {
    /// Of the gateway.
    port: u16,
    /// Who this process is, as a user namespace is told.
    maps: [(&'static std::ffi::CStr, String); 3],
    ours: OwnedFd,
    its: OwnedFd,
    step: Cell<Step>,
}

/// How far the child has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Separate,
    BeWhoItWas,
    HaveALoopback,
    Listen,
    Done,
}

/// Connections that wait until the gateway has heard of the socket.
const BACKLOG: i32 = 1024;

impl Enclosure {
    pub(crate) fn around(port: u16) -> io::Result<Self> {
        let (ours, its) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let same = |id: u32| format!("{id} {id} 1");
        let maps = [
            // Without it nobody may say which group he is.
            (c"/proc/self/setgroups", "deny".to_owned()),
            (c"/proc/self/uid_map", same(rustix::process::geteuid().as_raw())),
            (c"/proc/self/gid_map", same(rustix::process::getegid().as_raw())),
        ];
        Ok(Enclosure { port, maps, ours, its, step: Cell::new(Step::Separate) })
    }

    /// In the child. Makes system calls and nothing else.
    pub(crate) fn enter(&self) -> rustix::io::Result<()> {
        self.step.set(Step::Separate);
        let is_new_user = match unshare(CloneFlags::CLONE_NEWNET) {
            Ok(()) => false,
            Err(Errno::EPERM) => {
                unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET).map_err(errno)?;
                true
            }
            Err(why) => return Err(errno(why)),
        };
        if is_new_user {
            self.step.set(Step::BeWhoItWas);
            for (path, text) in &self.maps {
                let file = rustix::fs::open(*path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
                rustix::io::write(file, text.as_bytes())?;
            }
        }
        self.step.set(Step::HaveALoopback);
        let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        bring_up_loopback(&socket)?;
        self.step.set(Step::Listen);
        rustix::net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.port))?;
        rustix::net::listen(&socket, BACKLOG)?;
        self.hand_over(&socket)?;
        self.step.set(Step::Done);
        Ok(())
    }

    fn hand_over(&self, socket: &OwnedFd) -> rustix::io::Result<()> {
        let sockets = [socket.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(SendAncillaryMessage::ScmRights(&sockets));
        rustix::net::sendmsg(&self.its, &[io::IoSlice::new(b"!")], &mut ancillary, SendFlags::NOSIGNAL).map(|_| ())
    }

    /// Where the gateway is to listen inside, once the command has begun.
    pub(crate) fn inside(&self) -> io::Result<OwnedFd> {
        let (mut space, mut byte) = ([MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))], [0]);
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        rustix::net::recvmsg(&self.ours, &mut [io::IoSliceMut::new(&mut byte)], &mut ancillary, flags)?;
        let sockets = ancillary.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(sockets) => Some(sockets),
            _ => None,
        });
        sockets.flatten().next().ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Why a command did not begin in here; `None`: it got in, and something else was in its way.
    pub(crate) fn explain(&self, why: &io::Error) -> Option<String> {
        let what = match self.step.get() {
            Step::Done => return None,
            // Some refuse the namespace, others let it be made and then deny everything inside.
            Step::Separate | Step::BeWhoItWas | Step::HaveALoopback if is_refusal(why) => {
                return Some(format!(
                    "`egress: gateway` needs a network namespace, which this machine refuses ({why}): allow user namespaces \
                     (`user.max_user_namespaces`, `kernel.apparmor_restrict_unprivileged_userns=0`; in a container its seccomp profile), \
                     or give adce CAP_SYS_ADMIN"
                ));
            }
            Step::Separate => "a network namespace",
            Step::BeWhoItWas => "its user in a user namespace",
            Step::HaveALoopback => "a loopback of its own",
            Step::Listen => "the gateway's socket inside",
        };
        Some(format!("`egress: gateway`: {what} could not be made: {why}"))
    }
}

fn is_refusal(why: &io::Error) -> bool {
    matches!(why.raw_os_error(), Some(libc::EPERM | libc::EACCES | libc::ENOSYS | libc::ENOSPC | libc::EINVAL | libc::EUSERS))
}

/// Whether commands can be enclosed here; the error says why not.
pub fn can_enclose() -> Result<(), String> {
    let no_program = Path::new("/");
    let tried = Enclosure::around(1).and_then(|enclosure| {
        // It fails in any case, and leaves nobody: how far it came is what counts.
        let launched = Plan::new(no_program, std::iter::once("/"), &[], no_program)?.launch(None, &|| enclosure.enter());
        Ok(launched.err().and_then(|why| enclosure.explain(&why)))
    });
    match tried {
        Ok(None) => Ok(()),
        Ok(Some(why)) => Err(why),
        Err(why) => Err(format!("`egress: gateway` cannot be tried: {why}")),
    }
}

fn bring_up_loopback(socket: &OwnedFd) -> rustix::io::Result<()> {
    // SAFETY: nothing but numbers, all of which may be zero.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as c_short;
    // SAFETY: the kernel reads one such structure there.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) };
    if done < 0 { Err(errno(Errno::last())) } else { Ok(()) }
}

fn errno(why: Errno) -> rustix::io::Errno {
    rustix::io::Errno::from_raw_os_error(why as i32)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;
    use crate::launch::Launched;

    /// By the shell in there.
    fn asked(enclosure: &Enclosure, script: &str) -> Launched {
        let environment = [("PATH".into(), std::env::var_os("PATH").unwrap_or_default())];
        let plan = Plan::new(Path::new("/bin/bash"), ["bash", "-c", script].into_iter(), &environment, Path::new("/")).unwrap();
        plan.launch(None, &|| enclosure.enter()).unwrap()
    }

    #[test]
    fn who_is_enclosed_reaches_the_gateways_port_and_nothing_else() {
        let outside = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = outside.local_addr().unwrap().port();
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let enclosure = Enclosure::around(port).unwrap();
        let elsewhere = other.local_addr().unwrap().port();
        let script = format!(
            "(echo out >/dev/tcp/127.0.0.1/{elsewhere}) 2>/dev/null && echo escaped; read line </dev/tcp/127.0.0.1/{port} && echo $line $(id -u)"
        );
        let launched = asked(&enclosure, &script);
        let inside = TcpListener::from(enclosure.inside().unwrap());
        assert_eq!(inside.local_addr().unwrap(), outside.local_addr().unwrap());
        inside.accept().unwrap().0.write_all(b"hello\n").unwrap();
        let mut said = String::new();
        File::from(launched.stdout.unwrap()).read_to_string(&mut said).unwrap();
        assert_eq!(said, format!("hello {}\n", rustix::process::getuid()));
        other.set_nonblocking(true).unwrap();
        outside.set_nonblocking(true).unwrap();
        assert!(other.accept().is_err() && outside.accept().is_err(), "nobody came past the inside");
        rustix::process::waitpid(Some(launched.child.pid()), rustix::process::WaitOptions::empty()).unwrap();
    }

    #[test]
    fn this_machine_is_said_to_enclose_if_it_does() {
        assert_eq!(can_enclose(), Ok(()));
    }

    #[test]
    fn what_is_refused_is_told_by_its_step() {
        let enclosure = Enclosure::around(1).unwrap();
        let refused = enclosure.explain(&io::Error::from_raw_os_error(libc::EPERM)).unwrap();
        assert!(
            refused.starts_with("`egress: gateway` needs a network namespace, which this machine refuses (Operation not permitted"),
            "{refused}"
        );
        enclosure.step.set(Step::BeWhoItWas);
        assert_eq!(enclosure.explain(&io::Error::from_raw_os_error(libc::EPERM)), Some(refused), "as AppArmor does");
        enclosure.step.set(Step::Listen);
        let told = enclosure.explain(&io::Error::from_raw_os_error(libc::EADDRINUSE)).unwrap();
        assert!(told.contains("the gateway's socket inside could not be made: Address already in use"), "{told}");
        enclosure.step.set(Step::Done);
        assert_eq!(enclosure.explain(&io::Error::from_raw_os_error(libc::ENOENT)), None);
    }
}
