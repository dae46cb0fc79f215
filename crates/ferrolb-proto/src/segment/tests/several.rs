//! Several faults at once: what the random histories of [`super::nemesis`] found, each made small. The seeds are named.

use super::frame::{Claims, Heartbeat, Path, Paths, Stake};
use super::owner::{Output as Told, Owner};
use super::watch::Watch;
use super::*;

/// Two heartbeats, and what the network and the 15 ms of a reminder take.
const TWO_BEATS: Duration = Duration::from_millis(160);

/// Seed 3081: cut off, it takes the addresses of all. The cut heals, but one owner's speaker dies before the two have
/// heard of each other; for the rest that owner is down, for the one it is dead.
#[test]
fn who_was_cut_off_yields_to_an_owner_whose_speaker_dies_as_the_cut_heals() {
    for seed in 0..40 {
        let mut cluster = settled(seed, 5, Timing::DEFAULT);
        cluster.cut_off(&[3]);
        cluster.run(ms(350 + seed * 7));
        cluster.heal();
        cluster.kill(4);
        cluster.run(ms(200));
        let findings = after(&mut cluster, ms(3000), |_| {});
        assert!(findings.longest_dual() <= ms(400), "seed {seed}: {findings:?}");
        assert_owned_by_stand_ins(&cluster, seed);
    }
}

/// Whoever answers says one MAC address.
fn assert_owned_by_stand_ins(cluster: &Cluster, seed: u64) {
    for address in cluster.ranked(ADDRESSES).keys() {
        let macs: BTreeSet<MacAddr> = cluster.answers(*address).into_iter().map(|(_, mac)| mac).collect();
        assert_eq!(macs.len(), 1, "seed {seed}, {address}: {:?}", cluster.answers(*address));
    }
}

/// Seed 15291: the same, but its speaker had gone down by its own word, long before: nobody had ever said so of it.
#[test]
fn who_was_cut_off_yields_to_an_owner_whose_speaker_was_restarting_all_the_time() {
    for seed in 0..40 {
        let mut cluster = settled(seed, 5, Timing::DEFAULT);
        cluster.restart(2, ms(60_000));
        cluster.run(ms(900));
        cluster.cut_off(&[4]);
        cluster.run(ms(320 + seed));
        let findings = after(&mut cluster, ms(3000), Cluster::heal);
        assert!(findings.longest_dual() <= ms(800), "seed {seed}: {findings:?}");
        assert_owned_by_stand_ins(&cluster, seed);
    }
}

/// Seed 8532: it slept, and its clock does not show it. The LAN is blocked, one datagram in seven is lost, and with them
/// the word that it was held dead.
#[test]
fn who_slept_without_knowing_hears_of_its_successor_though_much_is_lost() {
    let mut longest = Vec::new();
    for seed in 0..150 {
        let mut cluster = settled(seed, 2, Timing::DEFAULT);
        cluster.loss = 14;
        cluster.block(true, false);
        cluster.run(ms(1150 + seed * 3));
        cluster.suspend(0, false);
        cluster.run(ms(500));
        let findings = after(&mut cluster, ms(2000), |cluster| cluster.resume(0));
        longest.push((findings.longest_dual(), seed));
    }
    // The first heartbeat by which the two find each other can be lost itself.
    let limit = TWO_BEATS + Timing::DEFAULT.interval;
    let late: Vec<_> = longest.into_iter().filter(|(dual, _)| *dual > limit).collect();
    assert!(late.is_empty(), "two owners for so long, and the seed: {late:?}");
}

/// Seed 49088: it slept, and its clock does not show it. Who owns its addresses now was started meanwhile and never
/// heard it, so does not say that it was dead.
#[test]
fn who_slept_without_knowing_yields_to_a_successor_that_was_started_meanwhile() {
    for seed in 0..40 {
        let mut cluster = settled(seed, 3, Timing::DEFAULT);
        cluster.suspend(2, false);
        cluster.run(ms(400));
        cluster.restart(0, ms(300));
        cluster.run(ms(1500));
        cluster.crash(1);
        cluster.run(ms(600 + seed * 7));
        let findings = after(&mut cluster, ms(2000), |cluster| cluster.resume(2));
        assert!(findings.longest_dual() <= TWO_BEATS, "seed {seed}: {findings:?}");
    }
}

/// Seed 10550: nobody was up when it fell asleep, so there was nobody to wait for when it woke; they were up by then.
#[test]
fn who_slept_asks_those_too_that_were_about_to_start() {
    for seed in 0..40 {
        let mut cluster = settled(seed, 3, Timing::DEFAULT);
        cluster.kill(1);
        cluster.kill(2);
        cluster.run(ms(500));
        cluster.suspend(0, true);
        cluster.boot(1);
        cluster.boot(2);
        cluster.run(ms(700));
        cluster.crash(2);
        cluster.run(ms(600 + seed * 3));
        let findings = after(&mut cluster, ms(2000), |cluster| cluster.resume(0));
        assert_eq!(findings.longest_dual(), ms(0), "seed {seed}: {findings:?}");
    }
}

/// One node's part, without a network: two others, both up.
struct Part {
    now: Instant,
    watch: Watch,
    owner: Owner,
    address: IpAddr,
    others: [NodeId; 2],
}

fn part() -> Part {
    let now = Instant::now();
    let [own, first, second] = ["own", "first", "second"].map(NodeId::of);
    let mut watch = Watch::new(own, Timing::DEFAULT, now);
    watch.set_members(now, &BTreeSet::from([own, first, second]));
    for node in [first, second] {
        watch.heard(now, node, Path::Lan);
        watch.heartbeat(now, node, &beat(), false);
    }
    let mut owner = Owner::new(own, MacAddr([2, 0, 0, 0, 0, 9]), Timing::DEFAULT, &BTreeMap::new(), now);
    owner.serve(now, &watch);
    let address: IpAddr = "192.168.0.1".parse().unwrap();
    Part { now, watch, owner, address, others: [first, second] }
}

fn beat() -> Heartbeat {
    Heartbeat { state: State::Running, ready: true, watch: false, heard_by: Paths::BOTH, members: 3, digest: (0, 0) }
}

fn claims(owner: NodeId, nonce: u64, stakes: &[(IpAddr, u32, bool)]) -> Claims {
    let stakes = stakes.iter().map(|(address, epoch, firm)| Stake { address: *address, epoch: *epoch, firm: *firm });
    Claims { owner, mac: [2, 0, 0, 0, 0, 1], nonce, stakes: stakes.collect() }
}

/// Seed 5271: all knew one better claim, of a node that had given it up. Who found that out held the address free, and
/// took it from him who had claimed it all the time.
#[test]
fn an_address_that_its_owner_denies_is_his_who_claimed_it_with_less_right() {
    let Part { now, watch, mut owner, address, others: [ghost, rival] } = part();
    owner.plan(now, &Plan::from([(address, [NodeId::of("own"), ghost, rival].into())]), &watch);
    owner.heard(now, ghost, &claims(ghost, 0, &[(address, 3, true)]), &watch);
    let at = |after: u64| now + ms(after);
    owner.heard(at(10), rival, &claims(rival, 0, &[(address, 2, true)]), &watch);
    assert_eq!(owner.claims()[&address].owner, ghost, "the better claim");
    owner.compare(at(20), ghost, (0, 0), &watch);
    owner.compare(at(200), ghost, (0, 0), &watch);
    owner.heard(at(210), ghost, &claims(ghost, 1, &[]), &watch);
    owner.compare(at(400), ghost, (0, 0), &watch);
    assert_eq!(owner.claims()[&address].owner, rival);
    assert_eq!(owner.role(address), Role::Silent);
}

/// Seeds 22851 and 42704: it slept, and what it knew of an owner whose speaker is down was as old as its sleep. It must not
/// stand in for that owner beside the successor, though the old claim is the better one.
#[test]
fn who_slept_believes_who_lives_and_stands_in_for_nobody_by_what_it_knew_before() {
    let Part { now, mut watch, mut owner, address, others: [dead, successor] } = part();
    owner.plan(now, &Plan::from([(address, [NodeId::of("own"), dead, successor].into())]), &watch);
    owner.heard(now, dead, &claims(dead, 0, &[(address, 3, true)]), &watch);
    let restarting = Heartbeat { state: State::Restarting, ..beat() };
    watch.heartbeat(now, dead, &restarting, false);
    owner.settle_all(now, &watch);
    assert_eq!(owner.role(address), Role::StandIn { owner: dead, mac: MacAddr([2, 0, 0, 0, 0, 1]) });
    let at = |after: u64| now + ms(after);
    owner.learn(at(1000), &watch);
    owner.heard(at(1010), successor, &claims(successor, 7, &[(address, 3, false)]), &watch);
    owner.serve(at(1020), &watch);
    assert_eq!(owner.claims()[&address].owner, successor);
    assert_eq!(owner.role(address), Role::Silent);
}

/// The other way round: what others have repeated since it woke is no old news, and the better claim stays the better one.
#[test]
fn who_slept_keeps_to_the_better_claim_that_others_repeat() {
    let Part { now, watch, mut owner, address, others: [holder, beaten] } = part();
    owner.plan(now, &Plan::from([(address, [NodeId::of("own"), holder, beaten].into())]), &watch);
    owner.heard(now, holder, &claims(holder, 0, &[(address, 3, true)]), &watch);
    let at = |after: u64| now + ms(after);
    owner.learn(at(1000), &watch);
    owner.heard(at(1010), holder, &claims(holder, 7, &[(address, 3, true)]), &watch);
    owner.heard(at(1020), beaten, &claims(beaten, 7, &[(address, 2, true)]), &watch);
    assert_eq!(owner.claims()[&address].owner, holder);
}

/// Seeds 6193 and 7203: all ask once a second, and who asked just after another had been answered was not answered, every
/// second anew.
#[test]
fn who_asks_just_after_another_was_answered_is_answered_too() {
    let Part { now, watch, mut owner, others: [first, second], .. } = part();
    let answered = |owner: &mut Owner| {
        let mut nonces = Vec::new();
        while let Some(output) = owner.poll_output() {
            if let Told::Tell(Body::Claims(claims)) = output {
                nonces.push(claims.nonce);
            }
        }
        nonces
    };
    owner.asked(now, first, 11, false, ms(0));
    owner.handle_timeout(now, &watch);
    assert_eq!(answered(&mut owner), [11]);
    owner.asked(now + ms(60), second, 12, false, ms(0));
    owner.handle_timeout(now + ms(60), &watch);
    assert_eq!(answered(&mut owner), [0; 0], "not at once: all are asked by all");
    let due = owner.next_deadline().unwrap();
    assert!(due <= now + ms(300));
    owner.handle_timeout(due, &watch);
    assert_eq!(answered(&mut owner), [12]);
}
