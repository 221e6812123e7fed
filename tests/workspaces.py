"""Workspaces described as JSON, made in a folder, and judged by milescale and by the reference document.

    workspaces.py vectors BINARY                        every tests/vectors/*.json against what the reference said
    workspaces.py random BINARY REFERENCE COUNT [SEED]  COUNT random workspaces against the reference, run here
    workspaces.py record REFERENCE                      writes tests/vectors/*.json anew

A description: "config" (text or null), "marker" ({"word", "hours_ago"} or null), "milestones" (path to text), "many" (how
many plain ones besides), "index" (rows of index.db: id to file_path; "all": of every file), "rows" (of a database: id to
data), "engine" (sqlite, or postgresql: then DATABASE_URL names a server), "log" (list of {"minutes_ago", "line"}; null for no log), "metrics" (list of query times; null
for no file). In a line, $TIME stands for the instant. All times are relative, so that a vector stays true.
"""
import contextlib
import datetime
import json
import os
import pathlib
import random
import sqlite3
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
KEYS = """current_backend optimal_backend status migration_confidence milestone_count concurrent_users team_size
kiro_enabled_count dependency_count complexity_score avg_read_time_ms avg_write_time_ms avg_query_time_ms
recent_avg_query_time_ms backend_age_hours performance_trend""".split()


def stamp(minutes_ago):
    instant = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(minutes=minutes_ago)
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")


def make(root, spec):
    folder = pathlib.Path(root) / ".milestones"
    for name in ("active", "config", "logs"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for path, text in spec.get("milestones", {}).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(text.encode("utf-8"))
    for number in range(spec.get("many", 0)):
        (folder / f"active/many-{number:04}.yaml").write_text(f"id: many-{number:04}\ntitle: One of many\n")
    if spec.get("index") is not None:
        files = [path for path in folder.rglob("active/**/*.yaml")]
        rows = {path.stem: str(path.relative_to(root)) for path in files} if "all" in spec["index"] else {}
        rows.update({name: path for name, path in spec["index"].items() if name != "all"})
        with contextlib.closing(sqlite3.connect(folder / "index.db")) as database, database:
            database.execute("CREATE TABLE milestones (id TEXT PRIMARY KEY, title TEXT, status TEXT, priority TEXT, "
                             "created_at TEXT, updated_at TEXT, file_path TEXT)")
            database.executemany("INSERT INTO milestones (id, title, file_path) VALUES (?1, ?1, ?2)", rows.items())
    if spec.get("rows") is not None:
        rows = [(name, json.dumps(data)) for name, data in spec["rows"].items()]
        rows += [(f"row-{number:04}", '{"status":"active"}') for number in range(spec.get("many_rows", 0))]
        if spec.get("engine") == "postgresql":
            table = "DROP TABLE IF EXISTS milestones CASCADE; CREATE TABLE milestones (id TEXT PRIMARY KEY, data JSONB, " \
                    "created_at TIMESTAMP DEFAULT now(), updated_at TIMESTAMP DEFAULT now());"
            inserts = "".join(f"INSERT INTO milestones (id, data) VALUES ('{name}', '{data}');" for name, data in rows)
            subprocess.run(["psql", "-X", "-q", os.environ["MILESCALE_TEST_POSTGRESQL"], "-v", "ON_ERROR_STOP=1"],
                           input=table + inserts, text=True, check=True, stderr=subprocess.DEVNULL)
        else:
            with contextlib.closing(sqlite3.connect(folder / "enterprise.db")) as database, database:
                database.execute("CREATE TABLE milestones (id TEXT PRIMARY KEY, data TEXT, created_at TEXT, updated_at TEXT)")
                database.executemany("INSERT INTO milestones (id, data) VALUES (?, ?)", rows)
    if spec.get("config") is not None:
        (folder / "config/storage-config.yaml").write_text(spec["config"])
    if spec.get("marker"):
        path = folder / "config/storage-backend.txt"
        path.write_text(spec["marker"]["word"])
        then = datetime.datetime.now().timestamp() - spec["marker"]["hours_ago"] * 3600
        os.utime(path, (then, then))
    if spec.get("log") is not None:
        lines = [entry["line"].replace("$TIME", stamp(entry["minutes_ago"])) + "\n" for entry in spec["log"]]
        (folder / "logs/storage-events.jsonl").write_text("".join(lines))
    if spec.get("metrics") is not None:
        entry = '{"timestamp":"%s","backend":"file","performance":{"avg_read_time_ms":1,"avg_write_time_ms":1,"avg_query_time_ms":%s}}\n'
        lines = [entry % (stamp(5 * number), time) for number, time in enumerate(spec["metrics"])]
        (folder / "logs/performance-metrics.jsonl").write_text("".join(lines))


def environment(spec):
    """What both programs are told of the database."""
    if spec.get("engine") != "postgresql":
        return {**os.environ, "DATABASE_TYPE": "sqlite"}
    return {**os.environ, "DATABASE_TYPE": "postgresql", "DATABASE_URL": os.environ["MILESCALE_TEST_POSTGRESQL"]}


def figures(command, spec):
    answer = subprocess.run(command, check=True, capture_output=True, text=True, env=environment(spec))
    found = json.loads(answer.stdout)
    return {key: found[key] for key in KEYS}


def milescale(binary, root, spec):
    return figures([binary, "--workspace", root, "status", "--json"], spec)


def reference(command, root, spec):
    """What the reference says, but for the confidence, which the contract keeps within 0 to 100."""
    said = figures([command, root], spec)
    return {**said, "migration_confidence": min(100, max(0, said["migration_confidence"]))}


def differences(expected, found):
    return [f"{key}: expected {expected[key]!r}, found {found[key]!r}" for key in KEYS if expected[key] != found[key]]


def config(milestones=(25, 100), users=(5, 20)):
    return ("storage:\n  backend: auto\n  thresholds:\n"
            f"    milestone_count: {{ file_to_hybrid: {milestones[0]}, hybrid_to_database: {milestones[1]} }}\n"
            f"    concurrent_users: {{ file_to_hybrid: {users[0]}, hybrid_to_database: {users[1]} }}\n"
            "  migration:\n    auto_migrate: false\n")


def event(user, operation, duration, minutes_ago=5):
    line = {"timestamp": "$TIME", "event": "performance_metric", "milestone_id": "system", "user": user,
            "backend": "file", "details": {"operation": operation, "duration_ms": duration, "success": True}}
    return {"minutes_ago": minutes_ago, "line": json.dumps(line, separators=(",", ":"))}


def milestone(name, kiro=0, plain=1, requires=0):
    tasks = "".join(f"  - id: k{n}\n    kiro_workflow:\n      enabled: true\n" for n in range(kiro))
    tasks += "".join(f"  - id: p{n}\n    kiro_workflow: {{ enabled: false }}\n" for n in range(plain))
    needed = "[" + ", ".join(f'"other-{n}"' for n in range(requires)) + "]"
    return f'id: {name}\ntitle: "{name}"\ntasks:\n{tasks}dependencies:\n  requires: {needed}\n'


DEGRADING = [100] * 5 + [200] * 5
SLOW, NORMAL, FAST = [600] * 10, [200] * 10, [10] * 10


def cases():
    """Each branch of the decision that a `file` workspace can reach, and both sides of each of its limits."""
    def case(**spec):
        return {"config": config(), "marker": {"word": "file\n", "hours_ago": 1.5}, "log": [], **spec}

    def aged(hours, **spec):
        return case(marker={"word": "file\n", "hours_ago": hours + 0.5}, **spec)

    users = [event(f"u{n}", "read", 3) for n in range(25)]
    queries = lambda time: [event("ada", "query", time) for _ in range(12)]
    yield "empty", case(log=None)
    yield "no-marker", case(marker=None, many=3)
    yield "below-milestones", case(many=24)
    yield "at-milestones", case(many=25)
    yield "one-over", case(many=26, metrics=NORMAL)
    yield "five-over", case(many=30, metrics=NORMAL)
    yield "six-over", case(many=31, metrics=NORMAL)
    yield "ten-over", case(many=35, metrics=NORMAL)
    yield "eleven-over", case(many=36, metrics=NORMAL)
    yield "below-database", case(many=99, metrics=NORMAL)
    yield "at-database", case(many=100, metrics=NORMAL)
    yield "database-one-over", case(many=101, metrics=NORMAL)
    yield "database-ten-over", case(many=110, metrics=NORMAL)
    yield "database-eleven-over", case(many=111, metrics=NORMAL)
    yield "database-25-over", case(many=125, metrics=NORMAL)
    yield "database-26-over", aged(25, many=126, metrics=NORMAL)
    yield "age-two", aged(2, many=26, metrics=NORMAL)
    yield "age-three", aged(3, many=26, metrics=NORMAL)
    yield "age-24", aged(24, many=36, metrics=NORMAL)
    yield "age-25", aged(25, many=36, metrics=NORMAL)
    yield "recommended-hybrid", aged(30, many=36, metrics=DEGRADING)
    yield "recommended-at-85", aged(3, many=31, metrics=[1] * 5 + [2] * 5, config=config((20, 100)))
    yield "recommended-database", aged(30, many=130, metrics=SLOW)
    yield "monitoring-slow", aged(3, many=36, metrics=SLOW)
    yield "monitoring-fast", aged(30, many=40, metrics=FAST)
    yield "negative-sum-kept-out", aged(3, many=26, metrics=FAST)
    yield "four-users", case(log=users[:4])
    yield "five-users", case(log=users[:5])
    yield "nineteen-users", case(log=users[:19])
    yield "twenty-users", case(log=users[:20])
    yield "users-of-the-day", case(log=[event(f"u{n}", "read", 3, 61 + n * 100) for n in range(20)])
    yield "users-beyond-the-day", case(log=[event(f"u{n}", "read", 3, 1430 + n * 3) for n in range(8)])
    yield "queries-500", case(log=queries(500))
    yield "queries-501", case(log=queries(501), metrics=NORMAL)
    yield "queries-1000", aged(25, log=queries(1000), metrics=DEGRADING)
    yield "queries-1001", aged(25, log=queries(1001), metrics=DEGRADING)
    yield "queries-last-ten", case(log=[event("a", "query", 5000)] * 5 + [event("a", "query", n) for n in range(10)])
    yield "last-hundred", case(log=[event("a", "write", n) for n in range(130)] + [event("b", "read", n * 7) for n in range(104)])
    yield "durations-truncated", case(log=[event("a", "read", 1), event("a", "read", 2), event("a", "read", 2.9)])
    yield "duration-missing", case(log=[{"minutes_ago": 1, "line": '{"timestamp":"$TIME","user":"a","details":{"operation":"query"}}'}] * 3 + queries(9)[:3])
    yield "metrics-one", case(many=30, metrics=[700])
    yield "metrics-six", case(many=30, metrics=[0, 0, 0, 0, 0, 1])
    yield "metrics-fifteen", case(many=30, metrics=[9000] * 5 + [150] * 10)
    yield "metrics-at-limits", case(many=30, metrics=[500] * 10)
    yield "metrics-below-normal", case(many=30, metrics=[99] * 10)
    yield "kiro-and-dependencies", case(log=users[:3], milestones={
        "active/a.yaml": milestone("a", kiro=3, plain=2, requires=4),
        "active/b.yaml": milestone("b", kiro=1, requires=1),
        "active/c.yaml": "id: c\ntasks: []\ndependencies: {requires: [], enables: [x]}\n",
        "completed/d.yaml": milestone("d", kiro=5, requires=5)})
    yield "shapes", case(milestones={
        "active/bom.yaml": "\ufeffid: bom\r\ntasks:\r\n  - {id: t, kiro_workflow: {enabled: true}}\r\n",
        "active/no-newline.yaml": "id: n\ndependencies: {requires: ['a', b]}",
        "active/quoted.yaml": "tasks:\n  - kiro_workflow: {enabled: \"true\"}\n  - kiro_workflow: {enabled: 'true'}\n",
        "active/scalar.yaml": "dependencies: {requires: some-id}\nprogress: 50\ntasks:\n  - just text\n",
        "active/unparsable.yaml": "tasks: [\n",
        "active/list.yaml": "- a\n- b\n",
        "active/empty.yaml": "",
        "active/sub/nested.yaml": "id: nested\n",
        "active/notes.txt": "no milestone",
        "active/old.yml": "id: old"})
    yield "other-thresholds", aged(30, many=12, config=config((3, 40), (2, 4)), log=users[:3], metrics=DEGRADING)
    yield "both-reached", aged(30, many=30, log=users[:21], metrics=NORMAL)


    # The other backends: what the contract takes over from the reference. It counts rows with tasks where the contract
    # counts tasks, so a row has one at most.
    def hybrid(hours=1, **spec):
        return case(marker={"word": "hybrid\n", "hours_ago": hours + 0.5}, index={"all": ""}, **spec)

    def database(hours=1, engine="sqlite", **spec):
        return case(marker={"word": "database\n", "hours_ago": hours + 0.5}, engine=engine, **spec)

    rows = {"a": {"status": "active", "tasks": [{"kiro_workflow": {"enabled": True}}]},
            "b": {"status": "done", "dependencies": {"requires": ["a"]}},
            "c": {"status": "archived"}, "d": {"status": "x"}}
    yield "hybrid-empty", hybrid()
    yield "hybrid-below-file", hybrid(many=24)
    yield "hybrid-at-hybrid", hybrid(many=25, metrics=NORMAL)
    yield "hybrid-below-database", hybrid(many=99, metrics=SLOW)
    yield "hybrid-at-database", hybrid(many=100, metrics=NORMAL)
    yield "hybrid-recommended", hybrid(hours=30, many=126, metrics=DEGRADING)
    yield "hybrid-queries-1000", hybrid(hours=30, many=30, log=queries(1000))
    yield "hybrid-queries-1001", hybrid(hours=30, many=30, log=queries(1001), metrics=SLOW)
    yield "hybrid-twenty-users", hybrid(many=3, log=users[:20])
    yield "hybrid-rows-and-files", {**hybrid(many=3, milestones={
        "active/a.yaml": milestone("a", kiro=2, requires=3), "active/no-row.yaml": "id: no-row\n"}),
        "index": {"a": ".milestones/active/a.yaml", "gone": ".milestones/active/gone.yaml", "many-0000": ".milestones/Active/x.yaml",
                  "finished": ".milestones/completed/finished.yaml"}}
    for engine in ("sqlite", "postgresql"):
        yield f"{engine}-empty", database(engine=engine, rows={})
        yield f"{engine}-rows", database(engine=engine, rows=rows, log=users[:3])
        yield f"{engine}-below-database", database(engine=engine, rows={}, many_rows=99, metrics=NORMAL)
        yield f"{engine}-at-database", database(engine=engine, rows={}, many_rows=100, metrics=NORMAL)
        yield f"{engine}-to-file", database(hours=30, engine=engine, rows=rows, metrics=DEGRADING)
        yield f"{engine}-slow-queries", database(hours=30, engine=engine, rows={}, many_rows=30, log=queries(1500), metrics=SLOW)
        yield f"{engine}-optimal", database(hours=30, engine=engine, rows=rows, many_rows=130, log=users, metrics=SLOW)


def random_backend(rng, spec):
    """The same workspace on another backend."""
    hours_ago = (spec["marker"] or {"hours_ago": 0.5})["hours_ago"]
    backend = rng.choice(["file", "file", "hybrid", "database"])
    if backend == "hybrid":
        finished = {f"done-{n}": f".milestones/completed/done-{n}.yaml" for n in range(rng.randrange(4))}
        return {**spec, "marker": {"word": "hybrid\n", "hours_ago": hours_ago}, "index": {"all": "", **finished}}
    if backend == "database":
        def row():
            data = {"status": rng.choice(["active", "done", "x"])}
            if rng.random() < 0.3:
                data["tasks"] = [{"kiro_workflow": {"enabled": True}}]
            if rng.random() < 0.3:
                data["dependencies"] = {"requires": ["one"]}
            return data if rng.random() < 0.8 else {"status": "archived"}
        rows = {f"r{n}": row() for n in range(rng.randrange(12))}
        return {**spec, "marker": {"word": "database\n", "hours_ago": hours_ago}, "rows": rows, "many_rows": spec["many"]}
    return spec


def random_spec(rng):
    def times(count):
        return [rng.choice([0, 3, 50, 99, 100, 101, 120, 400, 499, 500, 501, 600, 1200]) for _ in range(count)]

    log = None
    if rng.random() < 0.9:
        log = [event(f"u{rng.randrange(rng.choice([2, 6, 25]))}", rng.choice(["read", "write", "query"]),
                     rng.choice([0, 1, 7, 400, 499, 501, 800, 1001, 3000, 12.5]), rng.choice([1, 30, 59, 62, 600, 1430, 1450]))
               for _ in range(rng.choice([0, 3, 30, 250]))]
    milestones = {f"active/r{n}.yaml": milestone(f"r{n}", rng.randrange(3), rng.randrange(3), rng.randrange(4))
                  for n in range(rng.randrange(12))}
    steps = rng.choice([(25, 100), (3, 8), (1, 2), (10, 40)])
    return {"config": config(steps, rng.choice([(5, 20), (1, 2), (2, 4)])),
            "marker": rng.choice([None] + [{"word": "file\n", "hours_ago": hours + 0.5} for hours in (0, 1, 2, 3, 23, 24, 25, 900)]),
            "many": rng.choice([0, 1, 13, 24, 25, 31, 36, 101, 130]), "milestones": milestones, "log": log,
            "metrics": rng.choice([None, times(1), times(4), times(7), sorted(times(10)), times(14)])}


def compare(binary, named):
    failed = passed = 0
    for name, spec, expected in named:
        with tempfile.TemporaryDirectory() as root:
            make(root, spec)
            wrong = differences(expected(root, spec), milescale(binary, root, spec))
        failed += bool(wrong)
        passed += not wrong
        for line in wrong:
            print(f"{name}: {line}")
        if wrong:
            print(json.dumps(spec))
    print(f"workspaces: {passed} agree, {failed} differ")
    return 1 if failed or not passed else 0


def main():
    verb, *rest = sys.argv[1:]
    if verb == "vectors":
        files = sorted((HERE / "vectors").glob("*.json"))
        specs = [(path.stem, json.loads(path.read_text())) for path in files]
        return compare(rest[0], [(name, spec, lambda _, spec: spec["expected"]) for name, spec in specs])
    if verb == "random":
        seed = int(rest[3]) if len(rest) > 3 else random.randrange(1 << 32)
        print(f"seed {seed}")
        rng = random.Random(seed)
        ask = lambda root, spec: reference(rest[1], root, spec)
        return compare(rest[0], [(f"random {n}", random_backend(rng, random_spec(rng)), ask) for n in range(int(rest[2]))])
    if verb == "record":
        for name, spec in cases():
            with tempfile.TemporaryDirectory() as root:
                make(root, spec)
                spec["expected"] = reference(rest[0], root, spec)
            (HERE / "vectors" / f"{name}.json").write_text(json.dumps(spec, indent=1) + "\n")
            print(name, spec["expected"]["status"], spec["expected"]["migration_confidence"])
        return 0
    return __doc__


sys.exit(main())
