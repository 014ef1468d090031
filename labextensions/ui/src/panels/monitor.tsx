/** Live use of one environment, job or endpoint: numbers, plots, GPUs. */
import { useEffect, useRef, useState } from 'react';

import { LIVELY, useOne } from '../context';
import { bytes, trim } from '../format';
import { useWords } from '../i18n';
import { Plot } from '../parts/plot';
import { Loaded } from '../parts/states';
import { AcceleratorCard, Bar, shareText } from '../parts/values';
import type { Metrics } from '../types';

const KEPT = 300;

export const useMetrics = (kind: 'environment' | 'job' | 'endpoint', id: string | number, enabled = true, every = LIVELY) =>
  useOne<Metrics>('monitor', `metrics/${kind}/${id}`, { every, enabled });

export function Monitor({ kind, id, running }: { kind: 'environment' | 'job' | 'endpoint'; id: string | number; running: boolean }): JSX.Element {
  const { t } = useWords();
  const query = useMetrics(kind, id, running);
  const history = useHistory(query.data);
  if (!running) return <p className="lt-empty">{t('monitor.notRunning')}</p>;
  return (
    <Loaded query={query} rows={4}>
      {now => (
        <>
          <div className="lt-bars">
            <Bar neutral label={t('resource.cpu')} used={now.cpu_cores} total={now.cpu_limit || null} text={t(now.cpu_limit === 1 ? 'monitor.core' : 'monitor.cores', { used: trim(now.cpu_cores), total: now.cpu_limit ? trim(now.cpu_limit) : '∞' })} />
            <Bar label={t('resource.memory')} used={now.memory} total={now.memory_limit || null} text={now.memory_limit ? shareText({ used: now.memory, total: now.memory_limit }, 'bytes') : bytes(now.memory)} />
            <Bar label={t('resource.disk')} used={now.disk} total={now.disk_limit || null} text={now.disk_limit ? shareText({ used: now.disk, total: now.disk_limit }, 'bytes') : bytes(now.disk)} />
          </div>
          <div className="lt-plots">
            <Plot label={t('resource.cpu')} times={history.times} series={[{ label: t('resource.cpu'), values: history.rows.map(row => row.cpu_cores) }]} top={now.cpu_limit} format={value => trim(value)} />
            <Plot label={t('resource.memory')} times={history.times} series={[{ label: t('resource.memory'), values: history.rows.map(row => row.memory) }]} binary top={now.memory_limit} format={value => bytes(value, now.memory_limit || value)} />
            {now.accelerators.length > 0 && (
              <Plot
                label={t('gpu.utilisation')}
                times={history.times}
                top={100}
                format={value => `${trim(value)} %`}
                series={now.accelerators.map((gpu, index) => ({ label: `GPU ${gpu.index}`, values: history.rows.map(row => row.accelerators[index]?.utilisation ?? null) }))}
              />
            )}
          </div>
          <div className="lt-gpus">
            {now.accelerators.map(gpu => (
              <AcceleratorCard key={gpu.index} gpu={gpu} />
            ))}
          </div>
        </>
      )}
    </Loaded>
  );
}

/** The last minutes as this page has seen them. */
function useHistory(now: Metrics | undefined): { rows: Metrics[]; times: number[] } {
  const [rows, setRows] = useState<Metrics[]>([]);
  const last = useRef('');
  useEffect(() => {
    if (!now || now.at === last.current) return;
    last.current = now.at;
    setRows(old => [...old.slice(1 - KEPT), now]);
  }, [now]);
  return { rows, times: rows.map(row => new Date(row.at).getTime() / 1000) };
}
