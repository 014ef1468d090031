/** Home: what runs, what waits, what has ended, quotas, cost of the month. */
import { useEffect, useState } from 'react';

import { useMe, useOne, usePlace } from '../context';
import { money } from '../format';
import { useWords } from '../i18n';
import { Actions, Button, Link, type Action } from '../parts/buttons';
import { Card, Page, useRemembered } from '../parts/layout';
import { Empty, Loaded } from '../parts/states';
import { Age, isFinal, State } from '../parts/values';
import type { Overview, Phase } from '../types';
import { useEndpoints } from './endpoints';
import { environmentTitle, useEnvironmentActions, useEnvironments } from './environments';
import { useJobs } from './jobs';
import { QuotaBars } from './quotas';
import { Tile } from './usage';

interface Row {
  key: string;
  kind: string;
  name: string;
  to: string;
  phase: Phase;
  reason: string;
  position: number | null;
  at: string;
  actions?: Action[];
}

export function HomePage(): JSX.Element {
  const words = useWords();
  const { t } = words;
  const place = usePlace();
  const me = useMe();
  const since = useLastVisit();
  const environments = useEnvironments({ user: 'me', limit: 50 });
  const jobs = useJobs({ user: 'me', limit: 50 });
  const endpoints = useEndpoints({ user: 'me', limit: 50 });
  const environmentActions = useEnvironmentActions();
  const overview = useOne<Overview>('monitor', 'overview');
  const rows: Row[] = [
    ...(environments.data?.items ?? []).map(one => ({
      key: `environment-${one.id}`,
      kind: 'environment',
      name: environmentTitle(one, words),
      to: `/environments/${one.id}`,
      phase: one.phase,
      reason: one.reason,
      position: one.queue_position,
      at: (isFinal(one.phase) ? one.ended_at : one.started_at) ?? one.created_at,
      actions: environmentActions(one)
    })),
    ...(jobs.data?.items ?? []).map(one => ({
      key: `job-${one.id}`,
      kind: 'job',
      name: one.name,
      to: `/jobs/${one.id}`,
      phase: one.phase,
      reason: one.reason,
      position: one.queue_position,
      at: (isFinal(one.phase) ? one.ended_at : one.started_at) ?? one.created_at
    })),
    ...(endpoints.data?.items ?? []).map(one => ({
      key: `endpoint-${one.id}`,
      kind: 'endpoint',
      name: one.name,
      to: `/endpoints/${one.id}`,
      phase: one.phase,
      reason: one.reason,
      position: one.queue_position,
      at: one.started_at ?? one.created_at
    }))
  ];
  const now = rows.filter(row => !isFinal(row.phase));
  const ended = rows
    .filter(row => isFinal(row.phase))
    .sort((a, b) => b.at.localeCompare(a.at))
    .slice(0, 8);
  const idle = environments.data && !environments.data.items.some(one => !isFinal(one.phase));
  return (
    <Page
      title={t('home.hello', { name: me.data?.display_name || me.data?.name || '' })}
      actions={
        <>
          <Button kind={idle ? 'primary' : 'plain'} onClick={() => place.open('/environments/new')}>
            {t('environment.new')}
          </Button>
          <Button onClick={() => place.open('/jobs/new')}>{t('job.new')}</Button>
        </>
      }
    >
      {overview.data && (
        <div className="lt-tiles">
          <Tile title={t('environment.many')} value={String(overview.data.running.environments)} to="/environments" />
          <Tile title={t('home.jobsRunning')} value={withWaiting(overview.data.running.jobs, overview.data.waiting.jobs, t('home.waiting', { count: overview.data.waiting.jobs }))} to="/jobs" />
          <Tile title={t('endpoint.many')} value={String(overview.data.running.endpoints)} to="/endpoints" />
          <Tile title={t('home.cost')} value={money(overview.data.cost_this_month_micro, overview.data.currency)} to="/usage" />
        </div>
      )}
      <div className="lt-columns lt-columns-wide">
        <div>
          <Card title={t('home.now')}>
            <Loaded query={environments} rows={3}>
              {() => (now.length ? <Things rows={now} /> : <Empty text={t('home.nothing')} />)}
            </Loaded>
          </Card>
          <Card title={t('home.ended')}>
            <Loaded query={jobs} rows={3}>
              {() => (ended.length ? <Things rows={ended} since={since} /> : <Empty text={t('home.nothingEnded')} />)}
            </Loaded>
          </Card>
        </div>
        <Card title={t('quota.many')}>{me.data?.default_tenant ? <QuotaBars tenant={me.data.default_tenant} user={me.data.name} /> : <Loaded query={me} rows={3}>{() => <Empty text={t('tenant.none')} />}</Loaded>}</Card>
      </div>
    </Page>
  );
}

const withWaiting = (running: number, waiting: number, text: string): string => (waiting ? `${running} · ${text}` : String(running));

/** When this person was here last; the present visit counts once the page is left. */
function useLastVisit(): string {
  const [kept, keep] = useRemembered<string>('lastVisit', '');
  const [since] = useState(kept);
  useEffect(() => () => keep(new Date().toISOString()), []);
  return since;
}

function Things({ rows, since }: { rows: Row[]; since?: string }): JSX.Element {
  const { t, word } = useWords();
  return (
    <ul className="lt-things">
      {rows.map(row => (
        <li key={row.key}>
          <State phase={row.phase} reason={row.reason} position={row.position} />
          <span className="lt-things-name">
            <span className="lt-hint">{word('kind.', row.kind)}</span> <Link to={row.to}>{row.name}</Link>
            {since && row.at > since && <span className="lt-badge">{t('home.new')}</span>}
          </span>
          <span className="lt-hint">
            <Age at={row.at} />
          </span>
          {row.actions && <Actions actions={row.actions} label={t('action.more')} small />}
        </li>
      ))}
    </ul>
  );
}
