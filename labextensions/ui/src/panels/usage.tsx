/** Usage and bill of a month: every line opens the intervals it is made of. */
import { useState } from 'react';

import { may, useClient, useList, useMe, useOne, usePlace } from '../context';
import { decimals, duration, money } from '../format';
import { useWords } from '../i18n';
import { Button, Link } from '../parts/buttons';
import { Card, Page } from '../parts/layout';
import { save } from '../parts/log';
import { Empty, Loaded } from '../parts/states';
import { SmallTable } from '../parts/table';
import { useNotify, useSentence } from '../parts/toast';
import { Moment } from '../parts/values';
import { useTitles } from './catalog';
import type { Bill, BillLine, Interval, List } from '../types';

export const thisMonth = (now = new Date()): string => `${now.getUTCFullYear()}-${String(now.getUTCMonth() + 1).padStart(2, '0')}`;

function lastMonths(count: number): string[] {
  const now = new Date();
  return Array.from({ length: count }, (_, index) => thisMonth(new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() - index, 1))));
}

export function UsagePage(): JSX.Element {
  const words = useWords();
  const { t } = words;
  const place = usePlace();
  const me = useMe().data;
  const client = useClient();
  const notify = useNotify();
  const sentence = useSentence();
  const month = place.query.get('month') ?? thisMonth();
  const tenant = place.query.get('tenant') ?? '';
  const whole = place.query.get('who') === 'all';
  const params = { month, tenant, user: whole ? '' : (me?.name ?? '') };
  const query = useOne<Bill | List<Bill>>('billing', 'bills', { params, every: 30_000, enabled: !!me });
  const readable = (me?.tenants ?? []).filter(one => may(me, 'bills:read:others', one.slug) || ['admin', 'teacher'].includes(one.role));
  const onExport = (): void => {
    client
      .blob('billing', 'bills.csv', params)
      .then(blob => save(blob, `ltai-bill-${month}.csv`))
      .catch((error: unknown) => notify(sentence(error), 'bad'));
  };
  return (
    <Page title={t('usage.title')} note={t('usage.about')} actions={<Button onClick={onExport}>{t('usage.export')}</Button>}>
      <div className="lt-toolbar">
        <label className="lt-row">
          {t('usage.month')}
          <select className="lt-input" value={month} onChange={event => place.setQuery({ month: event.target.value })}>
            {lastMonths(13).map(one => (
              <option key={one}>{one}</option>
            ))}
          </select>
        </label>
        {(me?.tenants.length ?? 0) > 0 && (
          <label className="lt-row">
            {t('tenant.title')}
            <select className="lt-input" value={tenant} onChange={event => place.setQuery({ tenant: event.target.value || null, who: null })}>
              <option value="">{t('filter.allTenants')}</option>
              {me?.tenants.map(one => (
                <option key={one.slug} value={one.slug}>
                  {one.path.join(' / ')}
                </option>
              ))}
            </select>
          </label>
        )}
        {(me?.admin || readable.some(one => !tenant || one.slug === tenant)) && (
          <span className="lt-chips" role="group">
            <button type="button" className="lt-chip" aria-pressed={!whole} onClick={() => place.setQuery({ who: null })}>
              {t('filter.mine')}
            </button>
            <button type="button" className="lt-chip" aria-pressed={whole} onClick={() => place.setQuery({ who: 'all' })}>
              {t('filter.everybody')}
            </button>
          </span>
        )}
      </div>
      <Loaded query={query} rows={6}>
        {data => {
          const bills = 'items' in data ? data.items : [data];
          const lines = bills.flatMap(bill => bill.lines);
          const currency = bills[0]?.currency ?? '';
          const total = bills.reduce((sum, bill) => sum + bill.total_micro, 0);
          const seconds = lines.reduce((sum, line) => sum + line.seconds, 0);
          if (!lines.length) return <Empty text={t('usage.empty', { month })} />;
          return (
            <>
              <div className="lt-tiles">
                <Tile title={t('usage.total')} value={money(total, currency)} />
                <Tile title={t('usage.time')} value={duration(seconds, words)} />
                <Tile title={t('usage.lines')} value={String(lines.length)} />
              </div>
              <Card title={t('usage.bill', { month })}>
                <Lines lines={lines} month={month} currency={currency} whole={whole} />
              </Card>
            </>
          );
        }}
      </Loaded>
    </Page>
  );
}

export function Tile({ title, value, to }: { title: string; value: string; to?: string }): JSX.Element {
  const inside = (
    <>
      <span className="lt-tile-title">{title}</span>
      <span className="lt-tile-value">{value}</span>
    </>
  );
  return to ? (
    <Link to={to} className="lt-tile">
      {inside}
    </Link>
  ) : (
    <div className="lt-tile">{inside}</div>
  );
}

function Lines({ lines, month, currency, whole }: { lines: BillLine[]; month: string; currency: string; whole: boolean }): JSX.Element {
  const words = useWords();
  const { t, word } = words;
  const titles = useTitles();
  const [open, setOpen] = useState<string | null>(null);
  const columns = whole ? 7 : 6;
  const digits = decimals(lines.map(line => line.cost_micro));
  return (
    <div className="lt-table-frame">
      <table className="lt-table" aria-label={t('usage.lines')}>
        <thead>
          <tr>
            <th className="lt-grow">{t('usage.what')}</th>
            {whole && <th>{t('field.user')}</th>}
            <th>{t('tenant.title')}</th>
            <th>{t('flavor.title')}</th>
            <th className="lt-right">{t('usage.time')}</th>
            <th className="lt-right">{t('usage.intervals')}</th>
            <th className="lt-right">{t('field.cost')}</th>
          </tr>
        </thead>
        <tbody>
          {[...lines]
            .sort((a, b) => b.cost_micro - a.cost_micro || b.seconds - a.seconds)
            .flatMap(line => [
              <tr key={line.key} className={open === line.key ? 'lt-selected' : ''}>
                <td className="lt-grow">
                  <button type="button" className="lt-section-toggle" aria-expanded={open === line.key} onClick={() => setOpen(open === line.key ? null : line.key)}>
                    <span className={`lt-caret ${open === line.key ? 'lt-caret-open' : ''}`} aria-hidden="true" />
                    <span>
                      <span className="lt-hint">{word('kind.', line.kind)}</span> {line.kind === 'environment' && line.name === 'default' ? t('environment.default') : line.name || line.noun_id}
                    </span>
                  </button>
                </td>
                {whole && <td>{line.user}</td>}
                <td>{line.tenant}</td>
                <td>{titles.flavor(line.flavor)}</td>
                <td className="lt-right">{duration(line.seconds, words)}</td>
                <td className="lt-right">{line.intervals}</td>
                <td className="lt-right">{money(line.cost_micro, currency, digits)}</td>
              </tr>,
              ...(open === line.key
                ? [
                    <tr key={`${line.key}-open`}>
                      <td colSpan={columns} className="lt-nested">
                        <Intervals line={line} month={month} currency={currency} />
                      </td>
                    </tr>
                  ]
                : [])
            ])}
        </tbody>
      </table>
    </div>
  );
}

function Intervals({ line, month, currency }: { line: BillLine; month: string; currency: string }): JSX.Element {
  const words = useWords();
  const { t } = words;
  const query = useList<Interval>('billing', `bills/lines/${encodeURIComponent(line.key)}/intervals`, { params: { month } });
  return (
    <Loaded query={query} rows={2}>
      {data => (
        <SmallTable
          label={t('usage.intervals')}
          rows={Array.isArray(data) ? (data as Interval[]) : data.items}
          keyOf={row => `${row.started_at}${row.price_valid_from}`}
          columns={[
            { id: 'from', title: t('field.started'), cell: row => <Moment at={row.started_at} /> },
            { id: 'to', title: t('field.ended'), cell: row => (row.running ? t('usage.stillRunning') : <Moment at={row.ended_at} />) },
            { id: 'seconds', title: t('usage.time'), right: true, cell: row => duration(row.seconds, words) },
            { id: 'price', title: t('field.price'), right: true, cell: row => t('price.hour', { price: money(row.price_micro_per_hour, currency) }) },
            { id: 'since', title: t('price.validFrom'), cell: row => <Moment at={row.price_valid_from} /> },
            { id: 'cost', title: t('field.cost'), right: true, cell: row => money(row.cost_micro, currency, 4) }
          ]}
        />
      )}
    </Loaded>
  );
}
