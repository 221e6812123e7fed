#!/usr/bin/env python3
"""Writers of nine habits that never pause, while milescale moves the milestones to and fro; then every write is accounted for.

    storm.py MILESCALE SEED [SEED ...] [--psql URL] [--control] [--seconds S]

Each milestone has one writer; those of milescale's own verbs have several, which compare and set, and twins two, which add
in one step: one where the marker says, one where it said before. A write adds a token,
a key that no other write has, and counts where its program says 0. In the end each token that counted stands in what is
current, or in a content that a conflict names; one written by milescale's verbs stands in what is current. Prints a JSON
object a seed. Shares no code with milescale.
"""
import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

HABITS = ['in place', 'mv', 'editor', 'append', 'adapter', 'late adapter', 'again', 'stash']
TOKEN = re.compile(r'^["\']?t(\d+)["\']?: 1\s*$', re.M)


class Storm:
    def __init__(self, binary, seed, url, control, seconds):
        self.binary, self.seed, self.url, self.control = os.path.abspath(binary), seed, url, control
        self.random = random.Random(seed)
        self.root = tempfile.mkdtemp(prefix='milescale-storm-')
        self.schema = f'storm_{seed}_{os.getpid()}'
        self.end = None
        self.seconds = seconds
        self.lock = threading.Lock()
        self.next_token = 0
        self.written = {}       # id -> tokens that counted
        self.strict = set()     # ids that only milescale's verbs write
        self.refused = 0
        self.attempts = 0
        self.trouble = []
        self.moves = []
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith('DATABASE_')}
        self.environment['GIT_CONFIG_GLOBAL'] = '/dev/null'

    def path(self, *parts):
        return os.path.join(self.root, '.milestones', *parts)

    def run(self, arguments, **more):
        return subprocess.run(arguments, capture_output=True, text=True, cwd=self.root, env=self.environment, **more)

    def milescale(self, *arguments, **more):
        return self.run([self.binary, *arguments], **more)

    # --- the workspace

    def build(self):
        for folder in ('active', 'config', 'completed'):
            os.makedirs(self.path(folder))
        with open(self.path('config', 'storage-backend.txt'), 'w') as file:
            file.write('file\n')
        with open(self.path('config', 'storage-config.yaml'), 'w') as file:
            file.write('storage:\n  database:\n    type: sqlite\n    url: "%s"\n    schema: "%s"\n' % (self.url, self.schema))
        self.ids = {}
        for number in range(self.random.randrange(9, 30)):
            habit = HABITS[number % len(HABITS)]
            self.ids[f'{habit.replace(" ", "-")}-{number}'] = habit
        for number in range(3):
            self.ids[f'verb-{number}'] = 'verb'
            self.strict.add(f'verb-{number}')
        for number in range(3):
            self.ids[f'twin-{number}'] = 'twin'
        for id in self.ids:
            self.written[id] = set()
            with open(self.path('active', id + '.yaml'), 'w') as file:
                file.write(self.document(id, []))
        if shutil.which('git'):
            for command in (['init', '-q'], ['add', '-f', '.milestones/active'],
                            ['-c', 'user.name=t', '-c', 'user.email=t@t', 'commit', '-q', '-m', 'first']):
                assert self.run(['git', *command]).returncode == 0
        start = self.random.choice(['file', 'hybrid', 'sqlite'] + (['postgresql'] if self.url else []))
        if start != 'file':
            said = self.milescale(*self.move(start))
            assert said.returncode == 0, said
        self.start = start

    @staticmethod
    def document(id, tokens):
        return f'id: {id}\ntitle: "T {id}"\n' + ''.join(f't{token}: 1\n' for token in tokens)

    @staticmethod
    def move(to):
        engine = ['--engine', to] if to in ('sqlite', 'postgresql') else []
        return ['migrate', 'database' if engine else to, *engine, '--yes']

    def where(self):
        """What an adapter reads: marker and engine."""
        try:
            with open(self.path('config', 'storage-backend.txt')) as file:
                backend = file.read().strip()
            if backend != 'database':
                return backend or 'file'
            with open(self.path('config', 'storage-config.yaml')) as file:
                return re.search(r'type: (\w+)', file.read()).group(1)
        except FileNotFoundError:
            return 'file'

    # --- the writers

    def token(self):
        with self.lock:
            self.next_token += 1
            return self.next_token

    def count(self, id, token, done):
        with self.lock:
            self.attempts += 1
            if done:
                self.written[id].add(token)
            else:
                self.refused += 1

    def write_file(self, id, habit, tokens, token):
        path = self.path('active', id + '.yaml')
        text = self.document(id, tokens + [token])
        if habit == 'append' and os.path.exists(path):
            with open(path, 'a') as file:
                file.write(f't{token}: 1\n')
        elif habit == 'mv':
            with open(path + '.new', 'w') as file:
                file.write(text)
            os.rename(path + '.new', path)
        elif habit == 'editor':
            if os.path.exists(path):
                os.rename(path, path + '~')
            with open(path, 'w') as file:
                file.write(text)
        elif habit == 'again':
            if os.path.exists(path):
                os.unlink(path)
            time.sleep(random.uniform(0, 0.2))
            with open(path, 'w') as file:
                file.write(text)
        else:
            half = random.randrange(len(text))
            with open(path, 'w') as file:
                file.write(text[:half])
                file.flush()
                time.sleep(random.choice([0, 0, 0.02, 0.3]))
                file.write(text[half:])
        if habit == 'stash' and shutil.which('git'):
            with self.git:
                stashed = self.run(['git', 'stash', 'push', '-q', '--', f'.milestones/active/{id}.yaml'])
                time.sleep(random.uniform(0, 0.4))
                if stashed.returncode == 0:
                    # Somebody may have made the file another one meanwhile: then git keeps it, and this writer writes again.
                    if self.run(['git', 'stash', 'pop', '-q']).returncode != 0:
                        self.run(['git', 'checkout', '-q', 'stash@{0}', '--', f'.milestones/active/{id}.yaml'])
                        self.run(['git', 'reset', '-q'])
                        self.run(['git', 'stash', 'drop', '-q'])
                with open(path) as file:
                    return f't{token}: 1' in file.read()
        return True

    def write_row(self, where, id, tokens, token):
        data = json.dumps({'id': id, 'title': f'T {id}', **{f't{token}': 1 for token in tokens + [token]}})
        if where == 'sqlite':
            sql = ("INSERT INTO milestones VALUES ('%s', '%s', datetime('now'), datetime('now')) "
                   "ON CONFLICT (id) DO UPDATE SET data = excluded.data, updated_at = excluded.updated_at" % (id, data))
            return self.run(['sqlite3', self.path('enterprise.db'), sql]).returncode == 0
        sql = ('INSERT INTO "%s".milestones (id, data) VALUES (\'%s\', \'%s\') '
               'ON CONFLICT (id) DO UPDATE SET data = excluded.data, updated_at = now()' % (self.schema, id, data))
        return self.run(['psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', self.url, '-c', sql]).returncode == 0

    def writer(self, id, habit):
        tokens = []
        try:
            while time.monotonic() < self.end:
                where = self.where()
                if habit == 'late adapter':
                    time.sleep(random.choice([0, 0.1, 0.5, 2]))
                token = self.token()
                if where in ('file', 'hybrid'):
                    done = self.write_file(id, habit, tokens, token)
                else:
                    done = self.write_row(where, id, tokens, token)
                self.count(id, token, done)
                if done:
                    tokens.append(token)
                time.sleep(random.uniform(0.02, 0.25))
        except Exception as error:
            self.trouble.append(f'{id}: {error!r}')

    def add(self, where, id, token):
        """Adds a token to what stands there, in one step: two who do so never overwrite each other."""
        if where in ('file', 'hybrid'):
            path = self.path('active', id + '.yaml')
            if not os.path.exists(path):
                return False
            with open(path, 'a') as file:
                file.write(f't{token}: 1\n')
            return True
        if where == 'sqlite':
            sql = f"UPDATE milestones SET data = json_set(data, '$.t{token}', 1) WHERE id = '{id}'; SELECT changes()"
            said = self.run(['sqlite3', self.path('enterprise.db'), sql])
        else:
            sql = ('UPDATE "%s".milestones SET data = data || \'{"t%d": 1}\' WHERE id = \'%s\' RETURNING 1' % (self.schema, token, id))
            said = self.run(['psql', '-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-d', self.url, '-c', sql])
        return said.returncode == 0 and said.stdout.strip() == '1'

    def twin(self, id, stale):
        """One of two: one writes where the marker says, the other where it said before."""
        last, before = self.where(), None
        try:
            while time.monotonic() < self.end:
                now = self.where()
                if now != last:
                    # From file to hybrid and back, the files are the same.
                    if {now, last} != {'file', 'hybrid'}:
                        before = last
                    last = now
                where = before if stale else now
                if where is not None and not (stale and {where, now} <= {'file', 'hybrid'}):
                    token = self.token()
                    self.count(id, token, self.add(where, id, token))
                time.sleep(random.uniform(0.05, 0.3))
        except Exception as error:
            self.trouble.append(f'{id}: {error!r}')

    def verbs(self):
        try:
            while time.monotonic() < self.end:
                id = random.choice(sorted(self.strict))
                shown = self.milescale('milestone', 'show', id, '--json')
                if shown.returncode != 0:
                    continue
                shown = json.loads(shown.stdout)
                token = self.token()
                put = self.milescale('milestone', 'put', id, '--if-match', shown['digest'],
                                     input=shown['text'] + f't{token}: 1\n')
                self.count(id, token, put.returncode == 0)
        except Exception as error:
            self.trouble.append(f'verbs: {error!r}')

    # --- the moves

    def mover(self):
        stores = ['file', 'hybrid', 'sqlite'] + (['postgresql'] if self.url else [])
        now = self.start
        while time.monotonic() < self.end - 1:
            to = self.random.choice([store for store in stores if store != now])
            kill = self.random.random() < 0.25
            child = subprocess.Popen([self.binary, *self.move(to)], cwd=self.root, env=self.environment,
                                     stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            if kill:
                time.sleep(self.random.uniform(0, 1.2))
                child.send_signal(signal.SIGKILL)
            out, err = child.communicate()
            self.moves.append((to, child.returncode, err.strip().splitlines()[-2:] if child.returncode > 0 else ''))
            now = self.where()
            time.sleep(self.random.uniform(0, 0.5))

    # --- the account

    def current(self):
        where = self.where()
        found = {}
        if where in ('file', 'hybrid'):
            for folder, _, names in os.walk(self.path('active')):
                for name in names:
                    if name.endswith('.yaml') and not name.startswith('.'):
                        if name[:-5] in found:
                            self.trouble.append(f'doubled: {name}')
                        with open(os.path.join(folder, name)) as file:
                            found[name[:-5]] = file.read()
        elif where == 'sqlite':
            said = self.run(['sqlite3', '-json', self.path('enterprise.db'), 'SELECT id, data FROM milestones'])
            found = {row['id']: row['data'] for row in json.loads(said.stdout or '[]')}
        else:
            said = self.run(['psql', '-X', '-A', '-t', '-d', self.url, '-c',
                             'SELECT json_build_object(\'id\', id, \'data\', data) FROM "%s".milestones' % self.schema])
            found = {row['id']: json.dumps(row['data']) for row in map(json.loads, said.stdout.splitlines())}
        return found

    @staticmethod
    def tokens(text):
        return {int(token) for token in re.findall(r'\bt(\d+)\b', text)}

    def conflicts(self):
        named, found = set(), {}
        with open(self.path('logs', 'scale-events.jsonl')) as file:
            for line in file:
                event = json.loads(line)
                if event['event'] == 'write_conflict':
                    named.add(os.path.basename(event['details']['kept_as']))
        folder = self.path('.milescale', 'conflicts')
        for name in os.listdir(folder) if os.path.isdir(folder) else []:
            if name.endswith('.yaml'):
                if name not in named:
                    self.trouble.append(f'not named: {name}')
                with open(os.path.join(folder, name)) as file:
                    found.setdefault(name.split('.', 1)[1][:-5], []).append(file.read())
        return found

    def settle(self):
        for _ in range(20):
            said = self.milescale('import', '--json')
            if said.returncode != 0:
                self.trouble.append(f'import: {said.stderr}')
                return
            done = json.loads(said.stdout)
            if done['imported'] == 0 and done['conflicts'] == 0:
                return
        self.trouble.append('import never came to an end')

    def go(self):
        self.git = threading.Lock()
        self.build()
        self.end = time.monotonic() + self.seconds
        daemon = None
        if not self.control and self.random.random() < 0.5:
            daemon = subprocess.Popen([self.binary, 'run', '--interval', '1'], cwd=self.root, env=self.environment,
                                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        threads = [threading.Thread(target=self.writer, args=(id, habit))
                   for id, habit in self.ids.items() if habit not in ('verb', 'twin')]
        threads += [threading.Thread(target=self.twin, args=(id, stale))
                    for id, habit in self.ids.items() if habit == 'twin' for stale in (False, True)]
        threads += [threading.Thread(target=self.verbs) for _ in range(0 if self.control else 2)]
        threads += [threading.Thread(target=self.mover)] if not self.control else []
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        time.sleep(2.2)
        if not self.control:
            self.settle()
            if daemon:
                daemon.terminate()
                if daemon.wait(60) != 0:
                    self.trouble.append(f'the daemon ended with {daemon.returncode}')
            self.settle()
        elif self.where() in ('file', 'hybrid'):
            pass
        lost, strict_lost, altered = [], [], []
        current, conflicts = self.current(), {} if self.control else self.conflicts()
        kept = 0
        for id, written in self.written.items():
            in_current = self.tokens(current.get(id, ''))
            in_conflicts = set().union(*map(self.tokens, conflicts.get(id, []))) if id in conflicts else set()
            kept += len(conflicts.get(id, []))
            lost += [(id, token) for token in sorted(written - in_current - in_conflicts)]
            if id in self.strict:
                strict_lost += [(id, token) for token in sorted(written - in_current)]
            if id not in current or f'T {id}' not in current[id]:
                altered.append(id)
        extra = sorted(set(current) - set(self.ids))
        result = {
            'seed': self.seed, 'start': self.start, 'end': self.where(), 'daemon': daemon is not None,
            'milestones': len(self.ids), 'moves': sum(1 for _, code, _ in self.moves if code == 0),
            'killed': sum(1 for _, code, _ in self.moves if code < 0),
            'failed': [(to, why) for to, code, why in self.moves if code > 0],
            'writes': sum(map(len, self.written.values())), 'refused': self.refused, 'conflicts': kept,
            'lost': lost, 'own_lost': strict_lost, 'altered': altered, 'doubled': extra, 'trouble': self.trouble,
        }
        bad = lost or strict_lost or altered or extra or self.trouble
        if bad and os.environ.get('STORM_KEEP'):
            result['root'] = self.root
        else:
            shutil.rmtree(self.root, ignore_errors=True)
            if self.url:
                drop = f'DROP SCHEMA IF EXISTS "{self.schema}" CASCADE'
                subprocess.run(['psql', '-X', '-q', '-d', self.url, '-c', drop], capture_output=True)
        return result, bool(bad)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('binary')
    parser.add_argument('seeds', nargs='+', type=int)
    parser.add_argument('--psql', default='')
    parser.add_argument('--control', action='store_true')
    parser.add_argument('--seconds', type=float, default=6)
    options = parser.parse_args()
    worst = 0
    for seed in options.seeds:
        result, bad = Storm(options.binary, seed, options.psql, options.control, options.seconds).go()
        print(json.dumps(result), flush=True)
        worst |= bad
    return int(worst)


sys.exit(main())
