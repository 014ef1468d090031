/** Class board for teachers and assistants: seats, roster, profiles. */
import { useState } from 'react';

import { may, useChange, useList, useMe, usePlace } from '../context';
import { bytes, trim } from '../format';
import { useWords } from '../i18n';
import { Actions, Button, Link, type Action } from '../parts/buttons';
import { useConfirm } from '../parts/dialog';
import { Page, Tabs } from '../parts/layout';
import { Empty, Loaded } from '../parts/states';
import { useNotify, useSentence } from '../parts/toast';
import { Age, isFinal, State } from '../parts/values';
import type { Environment, Member, Profile } from '../types';
import { useEnvironmentActions, useEnvironments } from './environments';
import { useMetrics } from './monitor';
import { MemberTable } from './organisation';

export function ClassPage({ slug }: { slug?: string }): JSX.Element {
  const { t } = useWords();
  const place = usePlace();
  const me = useMe();
  return (
    <Loaded query={me}>
      {who => {
        const taught = who.tenants.filter(one => ['teacher', 'assistant', 'admin'].includes(one.role));
        const classes = taught.filter(one => one.kind === 'course').length ? taught.filter(one => one.kind === 'course') : taught;
        const chosen = slug ?? classes[0]?.slug;
        if (!chosen) return <Page title={t('class.title')}><Empty text={t('class.none')} /></Page>;
        const name = who.tenants.find(one => one.slug === chosen)?.name ?? chosen;
        return (
          <Page
            title={name}
            note={t('class.about')}
            actions={
              classes.length > 1 && (
                <select className="lt-input" aria-label={t('class.title')} value={chosen} onChange={event => place.open(`/class/${event.target.value}`)}>
                  {classes.map(one => (
                    <option key={one.slug} value={one.slug}>
                      {one.path.join(' / ')}
                    </option>
                  ))}
                </select>
              )
            }
          >
            <Tabs
              tabs={[
                { id: 'seats', title: t('class.seats'), show: () => <Seats slug={chosen} /> },
                { id: 'roster', title: t('class.roster'), show: () => <MemberTable tenant={chosen} /> },
                { id: 'profiles', title: t('profile.many'), show: () => <ClassProfiles slug={chosen} canAssign={may(who, 'profiles:assign', chosen)} /> }
              ]}
            />
          </Page>
        );
      }}
    </Loaded>
  );
}

interface Seat {
  member: Member;
  environments: Environment[];
}

/** Roster joined with environments; who is in comes first. */
export function makeSeats(members: Member[], environments: Environment[]): Seat[] {
  const seats = members
    .filter(member => member.role === 'member' || environments.some(one => one.user === member.user))
    .map(member => ({ member, environments: environments.filter(one => one.user === member.user && !isFinal(one.phase)) }));
  return seats.sort((a, b) => Number(b.environments.length > 0) - Number(a.environments.length > 0) || a.member.user.localeCompare(b.member.user));
}

function Seats({ slug }: { slug: string }): JSX.Element {
  const { t } = useWords();
  const confirm = useConfirm();
  const notify = useNotify();
  const sentence = useSentence();
  const members = useList<Member>('tenancy', `tenants/${slug}/members`, { params: { limit: 500 }, every: 30_000 });
  const environments = useEnvironments({ user: 'all', tenant: slug, limit: 1000 });
  const stop = useChange((client, id: string | number) => client.send('POST', 'environments', `environments/${id}/stop`), 'environments');
  const running = (environments.data?.items ?? []).filter(one => !isFinal(one.phase));
  const onStopAll = async (): Promise<void> => {
    const yes = await confirm({ title: t('class.stopAllTitle', { count: running.length }), text: t('class.stopAllText'), verb: t('class.stopAll'), danger: true });
    if (!yes) return;
    const done = await Promise.allSettled(running.map(one => stop.mutateAsync(one.id)));
    const failed = done.filter(result => result.status === 'rejected');
    if (failed.length) notify(sentence(failed[0].reason), 'bad');
    else notify(t('class.stoppedAll', { count: running.length }));
  };
  return (
    <Loaded query={members} rows={6}>
      {list => {
        const seats = makeSeats(list.items, environments.data?.items ?? []);
        const inside = seats.filter(seat => seat.environments.length).length;
        return (
          <>
            <div className="lt-toolbar">
              <strong>{t('class.inside', { inside, all: seats.length })}</strong>
              <span className="lt-spring" />
              <Button kind="danger" disabled={!running.length} onClick={() => void onStopAll()}>
                {t('class.stopAll')}
              </Button>
            </div>
            <Loaded query={environments} rows={4}>
              {() =>
                seats.length ? (
                  <ul className="lt-seats">
                    {seats.map(seat => (
                      <SeatCard key={seat.member.user} seat={seat} />
                    ))}
                  </ul>
                ) : (
                  <Empty text={t('class.empty')} />
                )
              }
            </Loaded>
          </>
        );
      }}
    </Loaded>
  );
}

function SeatCard({ seat }: { seat: Seat }): JSX.Element {
  const { t } = useWords();
  const actionsOf = useEnvironmentActions();
  const one = seat.environments[0];
  // A teacher stops or looks; a student's JupyterLab is the student's.
  const actions: Action[] = one ? actionsOf(one).slice(one.phase === 'running' ? 1 : 0) : [];
  return (
    <li className={`lt-seat ${one ? '' : 'lt-seat-empty'}`}>
      <div className="lt-seat-head">
        <strong>{seat.member.display_name || seat.member.user}</strong>
        {one && <Actions actions={actions} label={t('action.more')} small />}
      </div>
      <span className="lt-hint">{seat.member.user}</span>
      {one ? (
        <>
          <div className="lt-row">
            <State phase={one.phase} reason={one.reason} position={one.queue_position} />
            <span className="lt-hint">
              <Age at={one.started_at ?? one.created_at} />
            </span>
          </div>
          {one.phase === 'running' && <SeatUse id={one.id} />}
          <Link to={`/environments/${one.id}`}>{one.profile || one.image}</Link>
          {seat.environments.length > 1 && <span className="lt-hint">{t('class.more', { count: seat.environments.length - 1 })}</span>}
        </>
      ) : (
        <span className="lt-state">
          <span className="lt-dot lt-dot-grey" aria-hidden="true" /> {t('class.absent')}
        </span>
      )}
    </li>
  );
}

function SeatUse({ id }: { id: string | number }): JSX.Element | null {
  const { t } = useWords();
  const now = useMetrics('environment', id, true, 5000).data;
  if (!now) return null;
  const gpu = now.accelerators[0];
  return (
    <span className="lt-hint lt-number">
      CPU {trim(now.cpu_cores)} · {bytes(now.memory)}
      {gpu ? ` · GPU ${trim(gpu.utilisation)} %` : ''}
      {gpu?.simulated ? ` (${t('gpu.simulated')})` : ''}
    </span>
  );
}

function ClassProfiles({ slug, canAssign }: { slug: string; canAssign: boolean }): JSX.Element {
  const { t, title } = useWords();
  const notify = useNotify();
  const sentence = useSentence();
  const [busy, setBusy] = useState('');
  const all = useList<Profile>('catalog', 'profiles', { params: { limit: 500 }, every: 30_000 });
  const assigned = useList<{ profile: string; inherited?: boolean }>('tenancy', `tenants/${slug}/profiles`);
  const change = useChange(
    (client, { profile, on }: { profile: string; on: boolean }) => client.send(on ? 'PUT' : 'DELETE', 'tenancy', `tenants/${slug}/profiles/${encodeURIComponent(profile)}`),
    'tenancy',
    'catalog'
  );
  const toggle = (profile: string, on: boolean): void => {
    setBusy(profile);
    change.mutate({ profile, on }, { onError: error => notify(sentence(error), 'bad'), onSettled: () => setBusy('') });
  };
  return (
    <Loaded query={all} rows={4}>
      {data => (
        <Loaded query={assigned} rows={4}>
          {chosen => {
            const names = new Set(chosen.items.map(one => one.profile));
            const inherited = new Set(chosen.items.filter(one => one.inherited).map(one => one.profile));
            // The catalogue lists a profile once for every tenant that has it.
            const known = new Map(data.items.map(profile => [profile.name, { name: profile.name, title: title(profile.title, profile.name), about: title(profile.description) }]));
            for (const name of names) if (!known.has(name)) known.set(name, { name, title: name, about: '' });
            const rows = [...known.values()];
            if (!rows.length) return <Empty text={t('profile.empty')} />;
            return (
              <>
                <p className="lt-hint">{t('class.profilesHint')}</p>
                <ul className="lt-checks">
                  {rows.map(row => (
                    <li key={row.name}>
                      <label>
                        <input type="checkbox" checked={names.has(row.name)} disabled={!canAssign || busy === row.name || inherited.has(row.name)} onChange={event => toggle(row.name, event.target.checked)} />
                        <span>
                          <strong>{row.title}</strong>
                          <span className="lt-hint"> {row.about}</span>
                          {inherited.has(row.name) && <span className="lt-badge">{t('class.fromAbove')}</span>}
                        </span>
                      </label>
                    </li>
                  ))}
                </ul>
              </>
            );
          }}
        </Loaded>
      )}
    </Loaded>
  );
}
