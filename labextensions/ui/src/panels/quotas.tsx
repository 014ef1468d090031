/** Quotas as bars: used of the limit, and of that what is guaranteed and what is borrowed. */
import { useList } from '../context';
import { quantity } from '../format';
import { useWords, type Words } from '../i18n';
import { Empty, Loaded } from '../parts/states';
import { Bar } from '../parts/values';
import type { Quota } from '../types';

export function resourceTitle(resource: string, words: Words): string {
  const [kind, detail] = resource.split(':');
  return detail ? `${words.word('resource.', kind)} ${detail}` : words.word('resource.', kind);
}

export function QuotaBar({ quota, label }: { quota: Quota; label?: string }): JSX.Element {
  const words = useWords();
  const { t } = words;
  const where = quota.tenant_name ? ` · ${quota.tenant_name}` : '';
  const who = quota.user === '*' ? ` · ${t('quota.everyone')}` : quota.user ? ` · ${quota.user}` : '';
  const text =
    quota.limit === null
      ? t('quota.noLimit', { used: quantity(quota.resource, quota.used) })
      : `${quantity(quota.resource, quota.used, quota.limit)} / ${quantity(quota.resource, quota.limit)}`;
  const notes = [
    quota.guaranteed ? t('quota.guaranteedPart', { amount: quantity(quota.resource, quota.guaranteed) }) : '',
    quota.borrowed ? t('quota.borrowedPart', { amount: quantity(quota.resource, quota.borrowed) }) : ''
  ];
  return (
    <Bar
      label={label ?? resourceTitle(quota.resource, words) + where + who}
      used={quota.used}
      total={quota.limit}
      guaranteed={quota.guaranteed}
      text={[text, ...notes].filter(Boolean).join(' · ')}
    />
  );
}

export function QuotaBars({ tenant, user }: { tenant: string; user?: string }): JSX.Element {
  const { t } = useWords();
  const query = useList<Quota>('tenancy', 'quotas', { params: { tenant, user } });
  return (
    <Loaded query={query} rows={3}>
      {data =>
        data.items.length ? (
          <div className="lt-bars">
            {data.items.map(quota => (
              <QuotaBar key={`${quota.tenant}/${quota.user}/${quota.resource}`} quota={quota} />
            ))}
          </div>
        ) : (
          <Empty text={t('quota.empty')} />
        )
      }
    </Loaded>
  );
}
