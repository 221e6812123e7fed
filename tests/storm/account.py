"""The account of a storm: contract §8, "What this amounts to", held against what was written and what is there in the end.

Each token that counted stands in what is current, in the archive, or in a content that a conflict names. What milescale's own verbs wrote
stands in what is current, or, archived, in the archive. Reads stores by `tests/verify.py`, never by milescale.

Comments are content as well (§8: "comments and formatting survive"; an edit by comments alone is an edit). One that counted is held to the
same rules as a value, until a later write of the same milestone took it out, or another program updated a row of it, in whichever store: a row is
values alone, and where it goes over the text from before, that is what was written last. Later is what ended after the comment's write began. A
comment that a `put` took out does not come back. What counts of a row in use is the text that is kept of it, while the row is of
that value; `milestone export` has to give the same.
"""
import json
import os
import re

import verify
from hand import ROWS


TOKEN, COMMENT = re.compile(r'\bt(\d+)\b'), re.compile(r'# (c\d+)$', re.M)


def tokens(*texts):
    return {int(token) for text in texts for token in TOKEN.findall(text or '')}


def comments(*texts):
    return {comment for text in texts for comment in COMMENT.findall(text or '')}


def commented(lines):
    """The comments that counted and that nothing has taken out since, and those that a `put` took out that counted, from a milestone's lines."""
    owed, taken_out = set(), set()
    for begin, _, _, _, done, what, comment, out in lines:
        # A text that was refused may be there all the same: COMMITs without an answer, a file that its writer had removed.
        gone = any(end > begin and (other_done if it is True else comment in it) for _, end, _, _, other_done, _, _, it in lines)
        if done and comment and not gone:
            owed.add(f'c{comment}')
        if done and out is not True and 'put' in what:
            taken_out |= {f'c{number}' for number in out}
    return owed, taken_out


class Account:
    def __init__(self, world):
        self.world, self.trouble = world, world.trouble
        self.ledger = world.ledger()
        self.written = {id: set() for id in world.ids}
        for _, _, id, token, done, what, *_ in self.ledger:
            if done and token:
                self.written[id].add(token)
            if what.startswith('trouble'):
                self.trouble.append(f'{id}: {what}')
        self.current, self.archive = self.read_current(), verify.archive(world.root)
        self.conflicts = {} if world.control else self.read_conflicts()
        if not world.control:
            self.exported()
        self.trouble += [f'twice in the archive: {sorted(os.path.relpath(path, world.root) for path in paths)}'
                         for paths in verify.archive_places(world.root).values() if len(paths) > 1]

    def read_current(self):
        """id -> text of the store in use, as it is."""
        world, found = self.world, {}
        if world.where() in ROWS:
            found = verify.texts(world.root, world.url, world.schema)
        else:
            for folder, _, names in os.walk(world.path('active')):
                for name in names:
                    if name.endswith('.yaml') and not name.startswith('.'):
                        if name[:-5] in found:
                            self.trouble.append(f'twice: {name}')
                        found[name[:-5]] = verify.read(os.path.join(folder, name))
        return found

    def exported(self):
        """Whether `milestone export` gives the comments that are in the store."""
        folder = os.path.join(self.world.base, 'exported')
        if self.world.milescale('milestone', 'export', '--dir', folder).returncode != 0:
            self.trouble.append(f'export: {self.world.said[-1]}')
            return
        for id in sorted(set(self.current) - set(self.archive)):
            given, there = comments(verify.read(os.path.join(folder, f'{id}.yaml'))), comments(self.current[id])
            if given != there:
                self.trouble.append(f'{id}: export gives comments {sorted(given)}, and the store has {sorted(there)}')

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
        lost, own, altered, returned, owed = [], [], [], [], 0
        for id, written in self.written.items():
            now, archived = self.current.get(id), self.archive.get(id)
            said, taken_out = commented([line for line in self.ledger if line[2] == id])
            owed += len(said)
            lost += [(id, comment) for comment in sorted(said - comments(now, archived, *self.conflicts.get(id, [])))]
            there = comments(archived if now is None else now)
            if id in world.strict:
                own += [(id, comment) for comment in sorted(said - there)]
            returned += [(id, comment) for comment in sorted(taken_out & there)]
            lost += [(id, token) for token in sorted(written - tokens(now, archived, *self.conflicts.get(id, [])))]
            if id in world.strict:
                own += [(id, token) for token in sorted(written - tokens(archived if now is None else now))]
            if f'T {id}' not in (now or archived or ''):
                altered.append(id)
        others = sorted((set(self.current) | set(self.archive)) - set(world.ids))
        findings = {'lost': lost, 'own_lost': own, 'returned': returned, 'altered': altered, 'doubled': others, 'trouble': self.trouble}
        result = {'seed': world.seed, 'start': world.start, 'end': world.where(), 'on': sorted(world.on), 'attendant': world.attendant,
                  'files_after': world.files_after, 'pace': world.pace, 'lulls': world.lulls, 'milestones': len(world.ids), **self.commands(),
                  'writes': sum(map(len, self.written.values())), 'comments': sum(1 for line in self.ledger if line[4] and line[6]), 'owed': owed,
                  'refused': sum(1 for line in self.ledger if line[3] and not line[4]),
                  'verbs': sum(1 for line in self.ledger if line[2] in world.strict and line[4]),
                  'finished': sum(1 for line in self.ledger if line[4] and line[5].startswith('mv completed')),
                  'troubles': len(world.proxy.struck) if world.proxy else 0,
                  'conflicts': sum(map(len, self.conflicts.values())), 'skipped': world.skipped, **findings}
        if any(findings.values()):
            result['repeat'] = f'tests/storm/run MILESCALE {world.seed} --seconds {world.seconds:g}' + (' --psql URL' if world.url else '')
            result['history'] = {id: self.history(id, [token for other, token in lost + own + returned if other == id])
                                 for id in sorted({id for id, _ in lost + own + returned} | set(altered))[:5]}
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
        found = [f'{token}: {sorted({place for place, _, text in kept if token in tokens(text) | comments(text)}) or "nowhere"}' for token in missing]
        lines = [[*line[:2], f'{line[3] or ""} {line[5]}' + (f' c{line[6]}' if line[6] else '') + ('' if line[4] else ' (not)')]
                 for line in self.ledger if line[2] == id]
        lines += [[begin, end, f'milescale {what}: {code} {why}'] for begin, end, what, code, why in world.said]
        lines += [[*line[:2], line[2]] for line in (world.proxy.struck if world.proxy else [])]
        found += [f'{begin - world.began:8.3f} {end - world.began:8.3f}  {what}' for begin, end, what in sorted(lines)]
        events = [event for event in verify.events(world.root) if id in json.dumps(event)]
        return found + [json.dumps(event) for event in events[-20:]]
