/** CPU, memory, GPU and price of this environment, in JupyterLab's status bar. */
import { bytes, price, trim, useMetrics, useOne, useWords, type Environment, type Flavor, type List } from '@ltai/ui';

export function StatusMonitor({ server, seconds, onClick }: { server: string; seconds: number; onClick: (environment: Environment) => void }): JSX.Element | null {
  const words = useWords();
  const mine = useOne<List<Environment>>('environments', 'environments', { params: { user: 'me', limit: 200 }, every: 30_000 });
  const environment = mine.data?.items.find(one => (one.name || 'default') === server);
  const flavors = useOne<List<Flavor>>('catalog', 'flavors', { params: { limit: 500 }, every: 300_000 });
  const metrics = useMetrics('environment', environment?.id ?? '', !!environment, seconds * 1000);
  const now = metrics.data;
  if (!environment || !now) return null;
  const gpus = now.accelerators;
  const parts = [
    `CPU ${trim(now.cpu_cores)}${now.cpu_limit ? ` / ${trim(now.cpu_limit)}` : ''}`,
    `${words.t('resource.memory')} ${bytes(now.memory, now.memory_limit || now.memory)}${now.memory_limit ? ` / ${bytes(now.memory_limit)}` : ''}`,
    ...gpus.map(gpu => `GPU${gpus.length > 1 ? ` ${gpu.index}` : ''} ${trim(gpu.utilisation)} %${gpu.simulated ? ` (${words.t('gpu.simulated')})` : ''}`),
    price(environment.price_micro_per_hour, flavors.data?.items[0]?.currency ?? '', words)
  ];
  return (
    <button type="button" className="lt-status" title={words.t('lab.monitor')} onClick={() => onClick(environment)}>
      {parts.join(' · ')}
    </button>
  );
}
