"""The account of a storm: contract §8, "What this amounts to", held against what was written and what is there in the end.

Each token that counted stands in what is current, in the archive, or in a content that a conflict names. What milescale's own verbs wrote
stands in what is current, or, archived, in the archive. Reads stores by `tests/verify.py`, never by milescale.
"""
import json
import os
import re
import sqlite3

import verify


TOKEN = re.compile(r'\bt(\d+)\b')


def tokens(*texts):
    return {int(token) for text in texts for token in TOKEN.findall(text or '')}


class Account:
    def __init__(self, world):
        self.world, self.trouble = world, world.trouble
        self.ledger = world.ledger()
        self.written = {id: set() for id in world.ids}
        for _, _, id, token, done, what in self.ledger:
            if done and token:
                self.written[id].add(token)
            if what.startswith('trouble'):
                self.trouble.append(f'{id}: {what}')
        self.current, self.archive = self.read_current(), verify.archive(world.root)
        self.conflicts = {} if world.control else self.read_conflicts()
        self.trouble += [f'twice in the archive: {sorted(os.path.relpath(path, world.root) for path in paths)}'
                         for paths in verify.archive_places(world.root).values() if len(paths) > 1]

    def read_current(self):
        """id -> text of the store in use, as it is."""
        world, found = self.world, {}
        where = world.where()
        if where == 'sqlite':
            connection = sqlite3.connect(f'file:{world.path("enterprise.db")}?mode=ro', uri=True)
            found = dict(connection.execute('SELECT id, data FROM milestones'))
            connection.close()
        elif where == 'postgresql':
            said = verify.psql(world.url, f'SELECT json_build_array(id, data::text) FROM "{world.schema}".milestones')
            found = dict(map(json.loads, said.splitlines()))
        else:
            for folder, _, names in os.walk(world.path('active')):
                for name in names:
                    if name.endswith('.yaml') and not name.startswith('.'):
                        if name[:-5] in found:
                            self.trouble.append(f'twice: {name}')
                        found[name[:-5]] = verify.read(os.path.join(folder, name))
        return found

    def read_conflicts(self):
        """id -> texts of conflicts; each is named by an event, and each event's is there."""
        there, named = verify.kept(self.world.root)
        names = {name for _, name in named}
        found = {}
        for name, text in sorted(there.items()):
            if name not in names:
                self.trouble.append(f'not named: {name}')
            found.setdefault(name.split('.', 1)[1][:-5], []).append(text)
        self.trouble += [f'named, and not there: {name}' for name in sorted(names - set(there))]
        return found

    def judge(self):
        world = self.world
        lost, own, altered = [], [], []
        for id, written in self.written.items():
            now, archived = self.current.get(id), self.archive.get(id)
            lost += [(id, token) for token in sorted(written - tokens(now, archived, *self.conflicts.get(id, [])))]
            if id in world.strict:
                own += [(id, token) for token in sorted(written - tokens(archived if now is None else now))]
            if f'T {id}' not in (now or archived or ''):
                altered.append(id)
        others = sorted((set(self.current) | set(self.archive)) - set(world.ids))
        findings = {'lost': lost, 'own_lost': own, 'altered': altered, 'doubled': others, 'trouble': self.trouble}
        result = {'seed': world.seed, 'start': world.start, 'end': world.where(), 'on': sorted(world.on), 'attendant': world.attendant,
                  'files_after': world.files_after, 'pace': world.pace, 'lulls': world.lulls, 'milestones': len(world.ids), **self.commands(),
                  'writes': sum(map(len, self.written.values())),
                  'refused': sum(1 for line in self.ledger if line[3] and not line[4]),
                  'verbs': sum(1 for line in self.ledger if line[2] in world.strict and line[4]),
                  'finished': sum(1 for line in self.ledger if line[4] and line[5].startswith('mv completed')),
                  'troubles': len(world.proxy.struck) if world.proxy else 0,
                  'conflicts': sum(map(len, self.conflicts.values())), 'skipped': world.skipped, **findings}
        if any(findings.values()):
            result['repeat'] = f'tests/storm/run MILESCALE {world.seed} --seconds {world.seconds:g}' + (' --psql URL' if world.url else '')
            result['history'] = {id: self.history(id, [token for other, token in lost + own if other == id])
                                 for id in sorted({id for id, _ in lost + own} | set(altered))[:5]}
        return result, any(findings.values())

    def commands(self):
        """How often which command ended how."""
        found = {'moves': 0, 'killed': 0, 'failed': [], 'retired': 0, 'checks': 0}
        for _, _, what, code, why in self.world.said:
            verb = what.split()[0]
            if code < 0:
                found['killed'] += 1
            elif verb in ('migrate', 'rollback'):
                found['moves'] += code == 0
            elif verb == 'retire':
                found['retired'] += code == 0
            elif verb == 'check':
                found['checks'] += 1
            if code > 0:
                found['failed'].append((what, why))
        return found

    def history(self, id, missing):
        """What happened to a milestone, what milescale did meanwhile, and where the missing tokens are, if anywhere."""
        world = self.world
        kept = verify.everything(world.root, world.url, world.schema)
        found = [f'{token}: {sorted({place for place, _, text in kept if token in tokens(text)}) or "nowhere"}' for token in missing]
        lines = [[*line[:2], f'{line[3] or ""} {line[5]}' + ('' if line[4] else ' (not)')] for line in self.ledger if line[2] == id]
        lines += [[begin, end, f'milescale {what}: {code} {why}'] for begin, end, what, code, why in world.said]
        lines += [[*line[:2], line[2]] for line in (world.proxy.struck if world.proxy else [])]
        found += [f'{begin - world.began:8.3f} {end - world.began:8.3f}  {what}' for begin, end, what in sorted(lines)]
        events = [event for event in verify.events(world.root) if id in json.dumps(event)]
        return found + [json.dumps(event) for event in events[-20:]]
