//! The agent as a program, over loopback: its responses to the operator and to other clients.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rso::policy::usage::{Source, read_agent};

const PROGRAM: &str = env!("CARGO_BIN_EXE_rso-agent");

/// A running agent, which ends with the test.
pub(crate) struct Agent {
    pub(crate) child: Child,
    address: SocketAddr,
}

impl Agent {
    pub(crate) fn run(volumes: &[&str]) -> Self {
        let mut command = Command::new(PROGRAM);
        command.args(["--listen", "127.0.0.1:0"]).args(volumes.iter().flat_map(|volume| ["--volume", *volume]));
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().rsplit(' ').next().unwrap().parse().unwrap_or_else(|_| panic!("{line}"));
        Self { child, address }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    /// The status line and the body of the response to these bytes.
    pub(crate) fn ask(&self, bytes: &[u8]) -> (String, String) {
        let mut stream = self.connect();
        stream.write_all(bytes).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
        let length = format!("Content-Length: {}", body.len());
        assert!(head.lines().any(|line| line == length), "{head} for {} bytes", body.len());
        (head.lines().next().unwrap().to_owned(), body.to_owned())
    }

    pub(crate) fn disk(&self) -> (String, String) {
        self.ask(b"GET /disk HTTP/1.1\r\nHost: a\r\n\r\n")
    }

    fn ended(mut self) -> ExitStatus {
        let until = Instant::now() + Duration::from_secs(5);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "the agent did not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_operator_parses_the_response_and_finds_the_usage_of_the_filesystem() {
    let folder = tempfile::tempdir().unwrap();
    let agent = Agent::run(&[&format!("data-db-0={}", folder.path().display()), "proc=/proc"]);
    let (status, body) = agent.disk();
    assert_eq!(status, "HTTP/1.1 200 OK");
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    let volumes = read_agent(body.as_bytes(), now).unwrap();
    assert_eq!(volumes.iter().map(|volume| volume.claim.as_str()).collect::<Vec<_>>(), ["data-db-0", "proc"]);
    let said = volumes[0].usage.as_ref().unwrap();
    assert_eq!((said.at, said.source), (now, Source::Agent));
    let real = rustix::fs::statvfs(folder.path()).unwrap();
    assert_eq!(said.total.0, real.f_blocks * real.f_frsize);
    assert_eq!(said.inodes.map(|inodes| inodes.total), (real.f_files > 0).then_some(real.f_files));
    // Others write to this disk meanwhile.
    let near = |a: u64, b: u64| a.abs_diff(b) < said.total.0 / 100;
    assert!(near(said.available.0, real.f_bavail * real.f_frsize), "{said:?}");
    assert!(near(said.used.0, (real.f_blocks - real.f_bfree) * real.f_frsize), "{said:?}");
}

#[test]
fn a_volume_that_cannot_be_measured_makes_the_response_an_error_and_hides_no_other_volume() {
    let agent = Agent::run(&["data-db-0=/", "gone-db-0=/no/such/path"]);
    let (status, body) = agent.disk();
    assert_eq!(status, "HTTP/1.1 500 Internal Server Error");
    let read: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert!(read[0]["all_bytes"].as_u64().unwrap() > 0 && read[0].get("error").is_none(), "{body}");
    assert_eq!((read[1]["dir"].as_str(), read[1]["pvc_name"].as_str()), (Some("/no/such/path"), Some("gone-db-0")));
    assert!(read[1]["error"].as_str().unwrap().contains("No such file"), "{body}");
}

#[test]
fn only_disk_and_healthz_exist() {
    let agent = Agent::run(&["a=/"]);
    let check = |request: &str, status: &str| {
        assert_eq!(agent.ask(request.as_bytes()).0, format!("HTTP/1.1 {status}"), "{request:?}");
    };
    check("GET /healthz HTTP/1.1\r\n\r\n", "200 OK");
    check("GET / HTTP/1.1\r\n\r\n", "404 Not Found");
    check("GET /metrics HTTP/1.1\r\n\r\n", "404 Not Found");
    check("GET /../etc/passwd HTTP/1.1\r\n\r\n", "404 Not Found");
    check("POST /disk HTTP/1.1\r\nContent-Length: 0\r\n\r\n", "405 Method Not Allowed");
    check("\r\n\r\n", "400 Bad Request");
    check("hello\r\n\r\n", "400 Bad Request");
    check(&format!("GET /disk HTTP/1.1\r\nX: {}", "x".repeat(4096)), "431 Request Header Fields Too Large");
}

/// What older operators and other clients get. The filesystem of /proc has neither bytes nor inodes.
#[test]
fn an_ordinary_response_stays_the_same_to_the_byte() {
    let agent = Agent::run(&["data-db-0=/proc"]);
    for path in ["/disk", "/disk?", "/disk?pretty", "/disk?pretty=1&x=y"] {
        let mut stream = agent.connect();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let expected = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 117\r\n\
                        Cache-Control: no-store\r\nConnection: close\r\n\r\n\
                        [{\"dir\":\"/proc\",\"pvc_name\":\"data-db-0\",\"all_bytes\":0,\"free_bytes\":0,\
                        \"available_bytes\":0,\"inodes\":0,\"inodes_free\":0}]\n";
        assert_eq!(answer, expected, "{path}");
    }
}

#[test]
fn a_request_can_arrive_in_pieces() {
    let agent = Agent::run(&["a=/"]);
    let mut stream = agent.connect();
    for byte in b"GET /healthz HTTP/1.1\r\n\r\n" {
        stream.write_all(&[*byte]).unwrap();
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("ok\n"), "{answer}");
}

#[test]
fn slow_silent_and_disconnected_clients_do_not_block_others_for_long() {
    let agent = Agent::run(&["a=/"]);
    let start = Instant::now();
    // More than the agent serves at a time: silent ones, a slow one, and some that disconnect before the response.
    let _silent: Vec<TcpStream> = (0..6).map(|_| agent.connect()).collect();
    let mut slow = agent.connect();
    slow.write_all(b"G").unwrap();
    for _ in 0..4 {
        let mut gone = agent.connect();
        gone.write_all(b"GET /disk HTTP/1.1\r\n\r\n").unwrap();
        gone.shutdown(Shutdown::Both).unwrap();
    }
    assert_eq!(agent.disk().0, "HTTP/1.1 200 OK");
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
}

#[test]
fn many_parallel_requests_all_get_a_response() {
    let agent = Agent::run(&["a=/", "b=/proc"]);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| (0..10).for_each(|_| assert_eq!(agent.disk().0, "HTTP/1.1 200 OK")));
        }
    });
}

#[test]
fn a_signal_ends_the_agent_at_once() {
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::INT] {
        let agent = Agent::run(&["a=/"]);
        let start = Instant::now();
        rustix::process::kill_process(rustix::process::Pid::from_child(&agent.child), signal).unwrap();
        assert_eq!(agent.ended().code(), Some(0), "{signal:?}");
        assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
    }
}

/// In a container the agent is process 1, for which the kernel ignores a signal that has no handler.
#[test]
fn a_signal_ends_the_agent_as_process_1_too() {
    // Root may make a namespace of processes; others may within one of users.
    let ways: [&[&str]; 2] = [&["--fork", "--pid"], &["--user", "--map-root-user", "--fork", "--pid"]];
    let works = |way: &&&[&str]| Command::new("unshare").args(**way).arg("true").status().is_ok_and(|s| s.success());
    let way = ways.iter().find(works).expect("unshare (util-linux) makes a namespace of processes");
    let mut unshare = Command::new("unshare");
    unshare.args(*way).args(["--kill-child", PROGRAM, "--listen", "127.0.0.1:0", "--volume", "a=/"]);
    unshare.stderr(Stdio::piped());
    let mut child = unshare.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
    let children = format!("/proc/{0}/task/{0}/children", child.id());
    let inner: i32 = std::fs::read_to_string(children).unwrap().trim().parse().unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_raw(inner).unwrap(), rustix::process::Signal::TERM)
        .unwrap();
    let agent = Agent { child, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
    assert_eq!(agent.ended().code(), Some(0));
}

#[test]
fn an_invalid_command_line_is_reported_with_a_reason() {
    let check = |args: &[&str], code: i32, expected: &str| {
        let output = Command::new(PROGRAM).args(args).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(expected), "{args:?}: {said}");
    };
    check(&["--help"], 0, "Usage: rso-agent --volume <PVC>=<PATH>");
    check(&["--version"], 0, concat!("rso-agent ", env!("CARGO_PKG_VERSION")));
    check(&[], 2, "at least one --volume is required");
    check(&["--volume", "a"], 2, "must be <PVC>=<PATH>");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    check(&["--volume", "a=/", "--listen", &address], 1, "Address already in use");
}
