//! Hosts whose directories differ: files that one of them loses, for a while or over a restart.

use super::*;

/// A directory of its own for each host, all the same.
struct Differing {
    site: Site,
}

impl Differing {
    fn new() -> Self {
        let site = Site::new(3);
        site.write("one.yaml", &service("one", ""));
        site.write("two.yaml", &service("two", ""));
        let this = Self { site };
        (0..3).for_each(|host| this.fill(host));
        this
    }

    fn directory(&self, host: usize) -> PathBuf {
        self.site.files.path().join(format!("{}-manifests", name_of(host)))
    }

    /// Brings a host's files to what they ought to be.
    fn fill(&self, host: usize) {
        fs::create_dir_all(self.directory(host)).unwrap();
        for entry in fs::read_dir(self.site.manifests()).unwrap().map(Result::unwrap) {
            fs::copy(entry.path(), self.directory(host).join(entry.file_name())).unwrap();
        }
    }

    fn lose(&self, host: usize, files: &[&str]) {
        files.iter().for_each(|file| fs::remove_file(self.directory(host).join(file)).unwrap());
    }

    fn start(&self, host: usize) -> Process {
        let secret = self.site.files.path().join("secret");
        let (mut command, socket, own) = self.site.command_on(host, &secret, &self.directory(host));
        command.stderr(fs::File::create(own.join("log")).unwrap());
        self.site.run(host, command, socket)
    }

    /// Who answers for the two addresses.
    fn answers(&self) -> [Vec<String>; 2] {
        ["192.168.1.200", "192.168.1.201"].map(|address| self.site.client.arping(address))
    }
}

#[test]
fn files_that_one_host_loses_for_a_while_take_no_address_off_any_host() {
    let hosts = Differing::new();
    let processes: Vec<Process> = (0..3).map(|host| hosts.start(host)).collect();
    for process in &processes {
        assert_eq!(process.await_announced("one")["addresses"], json!(["192.168.1.200"]));
        assert_eq!(process.await_announced("two")["addresses"], json!(["192.168.1.201"]));
    }
    let before = hosts.answers();
    assert_eq!(before.each_ref().map(Vec::len), [1, 1]);
    for (host, process) in processes.iter().enumerate() {
        for files in
            [&["one.yaml"][..], &["two.yaml", "pool.yaml"], &["one.yaml", "two.yaml", "pool.yaml", "nodes.yaml"]]
        {
            hosts.lose(host, files);
            let finding = process.await_finding("LB0016");
            assert!(finding["message"].as_str().unwrap().contains("stays in force here"), "{finding}");
            for _ in 0..2 {
                assert_eq!(hosts.answers(), before, "host {} lost {files:?}", name_of(host));
            }
            for process in &processes {
                assert_eq!(process.service("one")["addresses"], json!(["192.168.1.200"]));
                assert_eq!(process.service("two")["addresses"], json!(["192.168.1.201"]));
            }
            hosts.fill(host);
            eventually("all is well again", || {
                process.status("json").status.code() == Some(0) && process.state()["findings"] == json!([])
            });
        }
    }
    assert_eq!(hosts.answers(), before);
    // And what is deleted on all of them ends.
    (0..3).for_each(|host| hosts.lose(host, &["two.yaml"]));
    eventually("nobody answers for it", || hosts.site.client.arping("192.168.1.201").is_empty());
    assert_eq!(hosts.site.client.arping("192.168.1.200"), before[0]);
}

#[test]
fn the_host_that_allocates_comes_back_without_files_and_changes_no_address() {
    let hosts = Differing::new();
    let mut processes: Vec<Process> = (0..3).map(|host| hosts.start(host)).collect();
    processes.iter().for_each(|process| drop(process.await_announced("two")));
    processes.remove(0).end(Signal::SIGTERM);
    hosts.lose(0, &["one.yaml", "pool.yaml"]);
    let allocator = hosts.start(0);
    let finding = allocator.await_finding("LB0016");
    for part in
        ["not in the manifests of this host", "b, c", "Service/default/one", "IPAddressPool/metallb-system/pool"]
    {
        assert!(finding["message"].as_str().unwrap().contains(part), "{finding}");
    }
    eventually("it allocates", || {
        let state = allocator.state();
        state["peers"].as_array().unwrap().iter().any(|peer| peer["name"] == "a" && peer["allocator"] == true)
    });
    // A Service that is new to all does not get what is only lacking here.
    hosts.site.write("new.yaml", &service("new", ""));
    fs::write(hosts.directory(0).join("new.yaml"), service("new", "")).unwrap();
    std::thread::sleep(std::time::Duration::from_secs(2));
    for process in &processes {
        assert_eq!(process.service("one")["addresses"], json!(["192.168.1.200"]));
        assert_eq!(process.service("two")["addresses"], json!(["192.168.1.201"]));
    }
    // What this host owned before may have gone to another: it does not know any more what is to be announced.
    eventually("both addresses are answered", || hosts.answers().each_ref().map(Vec::len) == [1, 1]);
    hosts.fill(0);
    assert_eq!(allocator.await_announced("new")["addresses"], json!(["192.168.1.202"]));
    assert_eq!(allocator.service("one")["addresses"], json!(["192.168.1.200"]));
}
