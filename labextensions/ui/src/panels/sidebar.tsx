/** JupyterLab's sidebar: short rows, a click opens the whole thing. */
import type { UseQueryResult } from '@tanstack/react-query';
import type { ReactNode } from 'react';

import { useMe, usePlace } from '../context';
import { money } from '../format';
import { useWords } from '../i18n';
import { Button, Link } from '../parts/buttons';
import { Section } from '../parts/layout';
import { Loaded } from '../parts/states';
import { Age, isFinal, StateDot, Took } from '../parts/values';
import { useOne } from '../context';
import type { Bill, List, Phase } from '../types';
import { useEndpoints } from './endpoints';
import { environmentTitle, useEnvironments } from './environments';
import { useJobs } from './jobs';
import { modelPath, useModels } from './models';
import { thisMonth } from './usage';

const SHORT = 8;
/** States in which the number says more than the word. */
const GOOD: Phase[] = ['running', 'succeeded'];

export function Sidebar(): JSX.Element {
  const words = useWords();
  const { t } = words;
  const environments = useEnvironments({ user: 'me', limit: 50 });
  const jobs = useJobs({ user: 'me', limit: SHORT });
  const models = useModels({ limit: SHORT });
  const endpoints = useEndpoints({ user: 'me', limit: SHORT });
  return (
    <div className="lt lt-sidebar">
      <Section name="environments" title={t('environment.many')} actions={<Add to="/environments/new" label={t('environment.new')} />}>
        <Rows
          query={environments}
          empty={t('environment.empty')}
          all="/environments"
          rows={list =>
            list.map(one => ({ key: String(one.id), to: `/environments/${one.id}`, name: environmentTitle(one, words), phase: one.phase, reason: one.reason, side: <Age at={one.started_at ?? one.created_at} /> }))
          }
        />
      </Section>
      <Section name="jobs" title={t('job.many')} actions={<Add to="/jobs/new" label={t('job.new')} />}>
        <Rows
          query={jobs}
          empty={t('job.empty')}
          all="/jobs"
          rows={list =>
            list.map(one => ({
              key: String(one.id),
              to: `/jobs/${one.id}`,
              name: one.name,
              phase: one.phase,
              reason: one.reason,
              side: isFinal(one.phase) ? <Age at={one.ended_at ?? one.created_at} /> : <Took from={one.started_at} />
            }))
          }
        />
      </Section>
      <Section name="models" title={t('model.many')}>
        <Rows
          query={models}
          empty={t('model.empty')}
          all="/models"
          rows={list => list.map(one => ({ key: `${one.tenant}/${one.name}`, to: modelPath(one.tenant, one.name), name: one.name, side: one.latest_version ? `v${one.latest_version}` : '' }))}
        />
      </Section>
      <Section name="endpoints" title={t('endpoint.many')} actions={<Add to="/endpoints/new" label={t('endpoint.publish')} />}>
        <Rows
          query={endpoints}
          empty={t('endpoint.empty')}
          all="/endpoints"
          rows={list => list.map(one => ({ key: String(one.id), to: `/endpoints/${one.id}`, name: one.name, phase: one.phase, reason: one.reason, side: `${one.ready_instances} / ${one.instances}` }))}
        />
      </Section>
      <Section name="usage" title={t('usage.title')}>
        <MonthCost />
      </Section>
    </div>
  );
}

function Add({ to, label }: { to: string; label: string }): JSX.Element {
  const place = usePlace();
  return (
    <button type="button" className="lt-icon-button" aria-label={label} title={label} onClick={() => place.open(to)}>
      +
    </button>
  );
}

/** The sidebar of a JupyterLab that belongs to no hub. */
export function NoHub(): JSX.Element {
  const { t } = useWords();
  return (
    <div className="lt lt-sidebar">
      <p className="lt-no-hub">{t('lab.noHub')}</p>
    </div>
  );
}

interface ShortRow {
  key: string;
  to: string;
  name: string;
  phase?: Phase;
  reason?: string;
  side: ReactNode;
}

function Rows<T>(props: { query: UseQueryResult<List<T>, Error>; rows: (items: T[]) => ShortRow[]; empty: string; all: string }): JSX.Element {
  const { t, word } = useWords();
  return (
    <Loaded query={props.query} rows={2}>
      {data =>
        data.items.length ? (
          <>
            <ul className="lt-short">
              {props.rows(data.items).map(row => (
                <li key={row.key}>
                  {row.phase ? <StateDot phase={row.phase} reason={row.reason} /> : <span />}
                  <Link to={row.to} className="lt-short-name">
                    {row.name}
                  </Link>
                  <span className="lt-hint lt-short-side">{row.phase && !GOOD.includes(row.phase) ? word('phase.', row.phase) : row.side}</span>
                </li>
              ))}
            </ul>
            <Link to={props.all} className="lt-link lt-all">
              {t('action.all', { count: data.total })}
            </Link>
          </>
        ) : (
          <p className="lt-hint">{props.empty}</p>
        )
      }
    </Loaded>
  );
}

function MonthCost(): JSX.Element {
  const { t } = useWords();
  const place = usePlace();
  const me = useMe().data;
  const query = useOne<Bill | List<Bill>>('billing', 'bills', { params: { month: thisMonth(), user: me?.name ?? '' }, every: 30_000, enabled: !!me });
  return (
    <Loaded query={query} rows={1}>
      {data => {
        const bills = 'items' in data ? data.items : [data];
        return (
          <div className="lt-row lt-month">
            <span>{t('home.cost')}</span>
            <strong className="lt-number">{money(bills.reduce((sum, bill) => sum + bill.total_micro, 0), bills[0]?.currency ?? '')}</strong>
            <Button small onClick={() => place.open('/usage')}>
              {t('usage.bill', { month: thisMonth() })}
            </Button>
          </div>
        );
      }}
    </Loaded>
  );
}
