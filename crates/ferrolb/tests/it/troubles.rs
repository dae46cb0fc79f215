//! Every trouble T1 to T28 of the user research that is marked P0 or P1: which test sets it up, which code it expects, and
//! on which of the surfaces that the research names it is seen there.
//!
//! Each line of evidence is a file, a test or part of it (by its name, or a heading in a page), and what stands in that
//! part. A name or a code that is not there any more fails here; whether the named test holds is that test's affair.
//! What a surface lacks on purpose is said in [`Trouble::without`], with the reason.

use std::fs;
use std::path::Path;

use ferrolb_rules::reason::Code;

use Surface::{Admission, Condition, Docs, Event, Log, Metric, Test, Tool};

/// Where a trouble is to be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Surface {
    Event,
    Condition,
    Log,
    Metric,
    /// The command line.
    Tool,
    /// What the API server answers at once.
    Admission,
    Docs,
    /// The trouble cannot occur, and a test tries.
    Test,
}

/// Surface, file, part of it, and what stands there.
type Evidence = (Surface, &'static str, &'static str, &'static str);

struct Trouble {
    name: &'static str,
    /// Where the research wants it.
    wanted: &'static [Surface],
    codes: &'static [Code],
    evidence: &'static [Evidence],
    /// Surfaces that it is not on, and why.
    without: &'static [(Surface, &'static str)],
}

const CLI: &str = "tests/cluster/ferrolb/cli_test.go";
const WIRE: &str = "tests/cluster/ferrolb/troubles_test.go";
const FIRST: &str = "tests/cluster/ferrolb/first_test.go";
const POOLS: &str = "tests/cluster/ferrolb/pools_test.go";
const SURFACES: &str = "tests/cluster/ferrolb/surfaces_test.go";
const FILES: &str = "crates/ferrolb/tests/it/cli.rs";
const RENDER: &str = "tests/chart/render_test.go";
const BOOK: &str = "docs/book/src/troubleshooting.md";
const MIGRATION: &str = "docs/book/src/migration.md";
const COMPATIBILITY: &str = "docs/book/src/compatibility.md";

const TROUBLES: &[Trouble] = &[
    Trouble {
        name: "T1: the webhook is not ready on a first sync",
        wanted: &[Condition, Event, Tool, Docs],
        codes: &[Code::PoolsOverlap],
        evidence: &[
            (Condition, POOLS, "func TestOverlappingPoolsShareOutWhatTheyHaveAndSayWhoIsFirst", "LB4004"),
            (Event, POOLS, "func TestOverlappingPoolsShareOutWhatTheyHaveAndSayWhoIsFirst", "PoolsOverlap"),
            (Tool, CLI, "T1: wait names the stage that is missing", "Not ready: controller 0 of 0 ready"),
            (Tool, WIRE, "func (s *system) firstSyncWithoutAWebhook", "Not ready: controller"),
            (Test, WIRE, "func (s *system) firstSyncWithoutAWebhook", "192.168.1.300/24"),
            (Docs, COMPATIBILITY, "the webhook is away", "crds.validationFailurePolicy: Fail"),
            (Test, "tests/cluster/ferrolb/definitions_test.go", "func TestEveryFieldRuleAndColumnOfTheDefinitions", ""),
        ],
        without: &[],
    },
    Trouble {
        name: "T2: kinds that are not there yet",
        wanted: &[Docs],
        codes: &[Code::KindMissing],
        evidence: &[
            (Docs, MIGRATION, "## Argo CD", "SkipDryRunOnMissingResource=true"),
            (Docs, MIGRATION, "## Argo CD", "dependsOn"),
            (Tool, CLI, "T2: kinds that are not there yet", "LB0020"),
            (Test, RENDER, "func TestTheDefinitionsAreAChartOfTheirOwn", ""),
        ],
        without: &[],
    },
    Trouble {
        name: "T3: sync waves between Applications do not wait",
        wanted: &[Condition, Docs, Test],
        codes: &[],
        evidence: &[
            (Test, "tests/cluster/ferrolb/order_test.go", "func TestAnyOrderEndsTheSame", "Perm"),
            (
                Test,
                "tests/cluster/ferrolb/gitops_test.go",
                "func TestArgoCDSyncsTheUsersTwoApplications",
                "the configuration before the chart",
            ),
            (Docs, MIGRATION, "## Argo CD", "resource.customizations.health.argoproj.io_Application"),
        ],
        without: &[(Condition, "there is nothing to say: any order ends the same")],
    },
    Trouble {
        name: "T4: caBundle drifts",
        wanted: &[Docs, Test],
        codes: &[],
        evidence: &[
            (Test, WIRE, "T4: what the controller writes into webhooks and definitions is no drift", "caBundle"),
            (Test, RENDER, "func TestNothingIsGeneratedLookedUpOrHooked", "caBundle"),
            (Docs, BOOK, "## Argo CD", "OutOfSync at `caBundle`"),
        ],
        without: &[],
    },
    Trouble {
        name: "T5: Pod Security refuses the speaker",
        wanted: &[Event, Condition, Tool],
        codes: &[Code::NoSpeaker, Code::PodSecurityForbids],
        evidence: &[
            (Event, FIRST, "func TestANamespaceThatRefusesSpeakersIsNamedWithTheLabelThatItNeeds", "LB1130"),
            (Condition, FIRST, "func TestANamespaceThatRefusesSpeakersIsNamedWithTheLabelThatItNeeds", "NoSpeaker"),
            (Tool, CLI, "T5, T12, T13, T20: what check finds", "LB0051"),
        ],
        without: &[],
    },
    Trouble {
        name: "T6: a pool is renamed or split",
        wanted: &[Admission, Condition, Event],
        codes: &[Code::PoolsOverlap],
        evidence: &[
            (Admission, "tests/cluster/testdata/good-pool-overlap.yaml", "# expect: created", "LB4004"),
            (Condition, POOLS, "func TestOverlappingPoolsShareOutWhatTheyHaveAndSayWhoIsFirst", "LB4004"),
            (Event, POOLS, "func TestOverlappingPoolsShareOutWhatTheyHaveAndSayWhoIsFirst", "PoolsOverlap"),
            (Test, POOLS, "func TestPoolsAreRenamedSplitMergedAndTheirAdvertisementsMovedWithoutAMomentsSilence", ""),
        ],
        without: &[],
    },
    Trouble {
        name: "T7: nodes are excluded by their label",
        wanted: &[Event, Condition, Log, Tool, Metric],
        codes: &[Code::NodeExcluded, Code::AllNodesExcluded],
        evidence: &[
            (Event, WIRE, "func (s *system) badDay", "NodeExcluded: "),
            (Condition, WIRE, "func (s *system) badDay", "LB1104"),
            (Log, WIRE, "func (s *system) badDay", "WaitForLog(t, \"LB1104\""),
            (Tool, CLI, "T7: one node is excluded, then all are", "LB1117"),
            (Metric, CLI, "T7: one node is excluded, then all are", "ferrolb_service_findings{code=\"LB1117\"}"),
        ],
        without: &[],
    },
    Trouble {
        name: "T8: an address that nobody announces",
        wanted: &[Event, Condition, Log, Tool, Metric],
        codes: &[
            Code::NoAdvertisement,
            Code::NodeNotSelected,
            Code::InterfaceMissing,
            Code::NoReadyEndpoints,
            Code::NoLocalEndpoints,
        ],
        evidence: &[
            (Event, FIRST, "func TestWhatIsNotServedSaysWhyWithACode", "NotAnnounced"),
            (Log, FIRST, "func TestWhatIsNotServedSaysWhyWithACode", "WaitForLog(t, \"LB1101\""),
            (Tool, CLI, "func (s *system) troublesOfAnnouncing", "LB1101"),
            (Tool, CLI, "func (s *system) troublesOfAnnouncing", "LB1110"),
            (Tool, CLI, "func (s *system) troublesOfAnnouncing", "LB1106"),
            (Tool, CLI, "func (s *system) troublesOfAnnouncing", "LB1102"),
            (Tool, CLI, "func (s *system) troublesOfAnnouncing", "LB1103"),
            (Condition, CLI, "func (s *system) awaitCode", "s.awaitSaid(t, service, code)"),
            (Metric, SURFACES, "func (s *system) awaitSaid", "ferrolb_service_findings"),
        ],
        without: &[],
    },
    Trouble {
        name: "T9: somebody on the LAN has the address",
        wanted: &[Event, Condition, Tool, Metric],
        codes: &[Code::AddressInUse, Code::AddressNotInPool],
        evidence: &[
            (Event, CLI, "T9: what a stranger has is not announced, and says so", "announceFailed"),
            (
                Tool,
                CLI,
                "T9: what a stranger has is not announced, and says so",
                "awaitCode(t, \"svc/squatted\", \"LB1118\")",
            ),
            (Tool, CLI, "T9: scan finds a stranger", "NOT a Service"),
            (Tool, CLI, "T9: an address in no pool", "LB1012"),
            (Condition, CLI, "func (s *system) awaitCode", "s.awaitSaid(t, service, code)"),
            (Metric, SURFACES, "func (s *system) awaitSaid", "ferrolb_service_findings"),
        ],
        without: &[],
    },
    Trouble {
        name: "T10: a pool has the address of a node",
        wanted: &[Admission, Condition, Tool],
        codes: &[Code::NodeAddressInPool],
        evidence: &[
            (Admission, WIRE, "T10: a pool that has a node's own address", "kubectl apply says nothing of it"),
            (Condition, WIRE, "T10: a pool that has a node's own address", "NodeAddress"),
            (Tool, WIRE, "T10: a pool that has a node's own address", "LB4009"),
        ],
        without: &[],
    },
    Trouble {
        name: "T11: ARP on Wi-Fi",
        wanted: &[Condition, Log, Tool, Metric],
        codes: &[Code::NobodyAnswers, Code::WirelessInterface],
        evidence: &[
            (
                Log,
                WIRE,
                "T11: a speaker on Wi-Fi hears every frame, as long as it runs",
                "this interface hears everything",
            ),
            (Tool, WIRE, "T11: answers that get lost between two machines, as Wi-Fi loses them", "LB1201"),
            (Tool, WIRE, "T11: check sees that a node is on Wi-Fi", "LB1205"),
            (Metric, WIRE, "T11: answers that get lost between two machines", "metallb_layer2_requests_received"),
        ],
        without: &[(
            Condition,
            "Wi-Fi alone is nothing wrong: the speaker hears everything there, and what is lost is not heard",
        )],
    },
    Trouble {
        name: "T12: k3s' own load balancer writes the same status",
        wanted: &[Event, Tool],
        codes: &[Code::RivalWriter, Code::RivalLoadBalancer],
        evidence: &[
            (Event, POOLS, "func TestARivalThatWritesTheSameStatusIsNamedAndNotFought", "LB1017"),
            (Tool, CLI, "T5, T12, T13, T20: what check finds", "LB0055"),
        ],
        without: &[],
    },
    Trouble {
        name: "T13: kernels answer too, as in IPVS mode without strictARP",
        wanted: &[Event, Condition, Tool],
        codes: &[Code::NodeAnswersUnasked, Code::StrictArpOff],
        evidence: &[
            (Event, WIRE, "T13: the kernel of another node answers too", "NodeAnswersUnasked"),
            (Condition, WIRE, "T13: the kernel of another node answers too", "ForeignReply"),
            (Condition, WIRE, "T13: the kernel of another node answers too", "LB1211"),
            (Metric, WIRE, "T13: the kernel of another node answers too", "ferrolb_service_findings{code=\"LB1211\"}"),
            (Tool, CLI, "T5, T12, T13, T20: what check finds", "LB0054"),
        ],
        without: &[],
    },
    Trouble {
        name: "T14: two nodes announce at once",
        wanted: &[Event, Metric, Tool],
        codes: &[Code::TwoAnnouncers, Code::MembershipPortBlocked],
        evidence: &[
            (Event, WIRE, "T14: two nodes that do not hear each other both announce", "AnnouncedTwice"),
            (Condition, WIRE, "T14: two nodes that do not hear each other both announce", "LB1212"),
            (Metric, WIRE, "T14: two nodes that do not hear each other both announce", "metallb_speaker_announced{"),
            (
                Metric,
                WIRE,
                "T14: two nodes that do not hear each other both announce",
                "ferrolb_service_findings{code=\"LB1212\"}",
            ),
            (Tool, WIRE, "T14: check names the pair and the port that are blocked", "LB0060"),
        ],
        without: &[],
    },
    Trouble {
        name: "T15: failover",
        wanted: &[Event, Metric, Tool, Docs],
        codes: &[],
        evidence: &[
            (
                Event,
                "tests/cluster/ferrolb/page_test.go",
                "func TestTheWebPageShowsWhoAnnouncesWhatAndWhoDidBefore",
                "TookOver",
            ),
            (
                Tool,
                "tests/cluster/ferrolb/page_test.go",
                "func TestTheWebPageShowsWhoAnnouncesWhatAndWhoDidBefore",
                "began to announce",
            ),
            (Log, WIRE, "T15: an owner that fails is replaced", "memberLeft"),
            (Metric, WIRE, "T15: an owner that fails is replaced", "metallb_layer2_failover_detections_total"),
            (Docs, BOOK, "## It worked, and for a moment it did not", "TookOver"),
        ],
        without: &[],
    },
    Trouble {
        name: "T16: no address changes over restarts",
        wanted: &[Test],
        codes: &[],
        evidence: &[
            (Test, WIRE, "func (s *system) restarts", "speaker.Kill(t)"),
            (
                Test,
                "tests/cluster/ferrolb/outage_test.go",
                "func TestTwentyRestartsOfTheControllerUnderChurnChangeNoAddress",
                "",
            ),
        ],
        without: &[],
    },
    Trouble {
        name: "T17: annotations that do nothing",
        wanted: &[Event, Admission, Tool],
        codes: &[Code::UnknownAnnotation, Code::OutputAnnotation, Code::RequestInvalid],
        evidence: &[
            (Event, POOLS, "func TestServicesWithNonsenseAreToldWhatIsWrongAndDisturbNobody", "LB2001"),
            (Admission, "tests/cluster/testdata/good-service-unknown.yaml", "# expect: created", "# warning: "),
            (Tool, CLI, "T6: pools that overlap, T17: annotations that do nothing", "LB2002"),
            (Tool, CLI, "T17: an address that is none", "LB1007"),
        ],
        without: &[],
    },
    Trouble {
        name: "T18: values of the chart that do nothing",
        wanted: &[Condition, Tool, Docs],
        codes: &[Code::UnknownValue],
        evidence: &[
            (Tool, FILES, "fn lint_of_the_first_users_repository_names_everything_that_does_nothing", "LB3001"),
            (Tool, CLI, "before anything is installed check --pre judges the cluster", "LB3001"),
            (Test, "tests/chart/notes_test.go", "func TestTheNotesShowThem", ""),
            (Docs, MIGRATION, "## Argo CD", "ferrolb.io/values-without-effect"),
        ],
        without: &[(
            Condition,
            "an annotation of the Deployment in its place: the programs never see the values (decision 23)",
        )],
    },
    Trouble {
        name: "T19: nothing is added by an upgrade",
        wanted: &[Test, Docs],
        codes: &[],
        evidence: &[
            (Test, RENDER, "func TestALayer2UserGetsTwentyFiveObjects", ""),
            (Docs, COMPATIBILITY, "FRR, frr-k8s", "none"),
        ],
        without: &[],
    },
    Trouble {
        name: "T20: what an uninstall leaves",
        wanted: &[Test, Docs],
        codes: &[Code::WebhookLeftover],
        evidence: &[
            (
                Test,
                "tests/cluster/ferrolb/forced_test.go",
                "func TestANamespaceDeletedByForceBlocksNoReinstall",
                "finalize",
            ),
            (Tool, CLI, "T5, T12, T13, T20: what check finds", "LB0056"),
            (Docs, "docs/book/src/codes.md", "LB0056", "WebhookLeftover"),
        ],
        without: &[],
    },
    Trouble {
        name: "T21: the API server does not reach the webhook",
        wanted: &[Tool, Condition],
        codes: &[Code::WebhookNotReached],
        evidence: &[(Tool, WIRE, "T21: an API server that does not reach the webhook is not held up", "LB0043")],
        without: &[(
            Condition,
            "a time of the last call says nothing about now; check asks by a dry run (decision 56)",
        )],
    },
    Trouble {
        name: "T22: a Service without an address holds a sync up",
        wanted: &[Event],
        codes: &[Code::NoPool],
        evidence: &[
            (Event, CLI, "T22: no pool yet", "AllocationFailed"),
            (Condition, CLI, "T22: no pool yet", "LB1001"),
        ],
        without: &[],
    },
    Trouble {
        name: "T23: the test Service without pods",
        wanted: &[Event, Condition],
        codes: &[Code::NoReadyEndpoints],
        evidence: &[
            (Event, CLI, "T23: the test Service without pods", "NotAnnounced"),
            (Condition, CLI, "T23: the test Service without pods", "awaitCode(t, \"svc/test-lb\", \"LB1102\")"),
        ],
        without: &[],
    },
    Trouble {
        name: "T26: which node has my address?",
        wanted: &[Condition, Tool],
        codes: &[],
        evidence: &[
            (Condition, CLI, "T26: who has the address", "\"IP\", \"MAC\", \"SINCE\""),
            (Tool, CLI, "T26: who has the address", "announced by "),
        ],
        without: &[],
    },
];

/// T24, T25, T27 and T28 are of priority P2.
const P2: [u8; 4] = [24, 25, 27, 28];

fn read(file: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// From a name to where the next part of the same kind begins: a function, a subtest, a section of a page, a line of a table.
fn part<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let from = &text[text.find(name)?..];
    let next = match name {
        name if name.starts_with("func ") => "\nfunc ",
        name if name.starts_with("fn ") => "\n#[test]",
        name if name.starts_with("## ") => "\n## ",
        name if name.starts_with('#') => "\u{0}",
        _ if text.contains("\tt.Run(\"") => "\n\tt.Run(\"",
        _ => "\n",
    };
    let end = from[name.len()..].find(next).map_or(from.len(), |at| at + name.len());
    // A subtest that is the last one ends with its function.
    let end = from[name.len()..end].find("\n}\n").filter(|_| next.contains("t.Run")).map_or(end, |at| at + name.len());
    from.get(..end)
}

#[test]
fn every_trouble_of_the_users_is_set_up_by_a_test_that_is_there() {
    for Trouble { name, evidence, .. } in TROUBLES {
        for (surface, file, test, expected) in *evidence {
            let text = read(file);
            let part = part(&text, test).unwrap_or_else(|| panic!("{name}, {surface:?}: no {test:?} in {file}"));
            assert!(part.contains(expected), "{name}, {surface:?}: no {expected:?} in {test:?} of {file}:\n{part}");
        }
    }
}

#[test]
fn every_surface_that_the_research_names_has_evidence_or_a_reason() {
    for Trouble { name, wanted, evidence, without, .. } in TROUBLES {
        for surface in *wanted {
            let seen = evidence.iter().any(|(one, ..)| one == surface);
            let lacks = without.iter().any(|(one, reason)| one == surface && !reason.is_empty());
            assert!(seen != lacks, "{name}: {surface:?}");
        }
    }
}

#[test]
fn every_code_of_a_trouble_is_expected_by_one_of_its_tests() {
    for Trouble { name, codes, evidence, .. } in TROUBLES {
        for code in *codes {
            let says = |(_, file, test, _): &Evidence| {
                let text = read(file);
                let part = part(&text, test).unwrap_or_default();
                part.contains(&code.to_string()) || part.contains(code.name())
            };
            assert!(evidence.iter().any(says), "{name}: nobody expects {code} {}", code.name());
        }
    }
}

#[test]
fn no_trouble_is_left_out() {
    for number in (1..=28).filter(|number| !P2.contains(number)) {
        let start = format!("T{number}: ");
        assert_eq!(TROUBLES.iter().filter(|one| one.name.starts_with(&start)).count(), 1, "T{number}");
    }
}
