/** What happened to a thing, newest first. */
import { useList } from '../context';
import { useWords } from '../i18n';
import { SmallTable } from '../parts/table';
import { Empty, Loaded } from '../parts/states';
import { Moment, State } from '../parts/values';
import type { Event } from '../types';

export function Events({ service, path, params }: { service: string; path: string; params?: Record<string, string | number> }): JSX.Element {
  const { t } = useWords();
  const query = useList<Event>(service, path, { every: 5000, params });
  return (
    <Loaded query={query} rows={4}>
      {data =>
        data.items.length ? (
          <SmallTable
            label={t('events.title')}
            rows={data.items}
            keyOf={row => `${row.at}${row.from_phase}${row.to_phase}`}
            columns={[
              { id: 'at', title: t('events.when'), cell: row => <Moment at={row.at} /> },
              { id: 'state', title: t('field.state'), cell: row => <State phase={row.to_phase} /> },
              { id: 'reason', title: t('events.reason'), cell: row => row.reason, grow: true },
              { id: 'actor', title: t('events.actor'), cell: row => row.actor ?? '' }
            ]}
          />
        ) : (
          <Empty text={t('events.empty')} />
        )
      }
    </Loaded>
  );
}
