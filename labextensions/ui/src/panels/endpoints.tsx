/** Endpoints: list, publish, one in detail with "try it". */
import { useState } from 'react';

import { STEADY, useChange, useList, useMe, useOne, usePlace } from '../context';
import { decimals, duration, money } from '../format';
import { useWords } from '../i18n';
import { Actions, Button, CopyButton, Link, type Action } from '../parts/buttons';
import { Dialog, useConfirm } from '../parts/dialog';
import { FormProblem, More, NumberField, problemOf, SelectField, TextField } from '../parts/form';
import { Card, Page, Tabs } from '../parts/layout';
import { LogView } from '../parts/log';
import { Empty, Loaded } from '../parts/states';
import { Chips, DataTable, useTableState, type Column } from '../parts/table';
import { useNotify, useSentence } from '../parts/toast';
import { Age, Facts, isFinal, isMoving, Moment, State, Took } from '../parts/values';
import type { Endpoint, Flavor, List, ModelDetail } from '../types';
import { Effect, useFlavors, useImages, useTitles } from './catalog';
import { Events } from './events';
import { modelPath, useModels } from './models';
import { Monitor } from './monitor';
import { TryIt } from './predict';

const every = (data: unknown): number => ((data as List<Endpoint> | undefined)?.items.some(one => isMoving(one.phase)) ? 1500 : STEADY);

export const useEndpoints = (params: Record<string, string | number>) => useList<Endpoint>('serving', 'endpoints', { params, every });

export function useEndpointActions(onToken: (token: string) => void): (one: Endpoint) => Action[] {
  const { t } = useWords();
  const confirm = useConfirm();
  const notify = useNotify();
  const sentence = useSentence();
  const onError = (error: unknown): void => notify(sentence(error), 'bad');
  const act = useChange((client, { one, verb }: { one: Endpoint; verb: 'start' | 'stop' }) => client.send('POST', 'serving', `endpoints/${one.id}/${verb}`), 'serving');
  const renew = useChange((client, one: Endpoint) => client.send<{ token: string }>('POST', 'serving', `endpoints/${one.id}/token`), 'serving');
  const remove = useChange((client, one: Endpoint) => client.send('DELETE', 'serving', `endpoints/${one.id}`), 'serving', 'models');
  return one => {
    const ask = async (title: string, text: string, verb: string, then: () => void, danger = true): Promise<void> => {
      if (await confirm({ title, text, verb, danger })) then();
    };
    const stop: Action = {
      label: one.phase === 'queued' ? t('action.cancel') : t('action.stop'),
      disabled: one.phase === 'stopping',
      run: () => void ask(t('endpoint.stopTitle', { name: one.name }), t('endpoint.stopText'), t('action.stop'), () => act.mutate({ one, verb: 'stop' }, { onError }), false)
    };
    const start: Action = { label: t('action.start'), run: () => act.mutate({ one, verb: 'start' }, { onError }) };
    const token: Action = {
      label: t('endpoint.renewToken'),
      run: () =>
        void ask(t('endpoint.renewTitle', { name: one.name }), t('endpoint.renewText'), t('endpoint.renewToken'), () =>
          renew.mutate(one, { onError, onSuccess: made => onToken(made.token) })
        )
    };
    const removal: Action = {
      label: t('action.delete'),
      danger: true,
      run: () =>
        void ask(t('endpoint.deleteTitle', { name: one.name }), t('endpoint.deleteText', { address: one.address }), t('action.delete'), () =>
          remove.mutate(one, { onError, onSuccess: () => notify(t('endpoint.deleted', { name: one.name })) })
        )
    };
    return [isFinal(one.phase) ? start : stop, token, removal];
  };
}

export function EndpointsPage(): JSX.Element {
  const { t } = useWords();
  const place = usePlace();
  const who = place.query.get('user') === 'all' ? 'all' : 'me';
  const filters = <Chips name="user" choices={[{ value: 'me', label: t('filter.mine') }, { value: 'all', label: t('filter.everybody') }]} />;
  return (
    <Page title={t('endpoint.many')} note={t('endpoint.about')} actions={<Button kind="primary" onClick={() => place.open('/endpoints/new')}>{t('endpoint.publish')}</Button>}>
      <EndpointTable who={who} filters={filters} />
    </Page>
  );
}

export function EndpointTable({ who, filters }: { who: 'me' | 'all'; filters?: React.ReactNode }): JSX.Element {
  const words = useWords();
  const { t } = words;
  const place = usePlace();
  const state = useTableState();
  const titles = useTitles();
  const query = useEndpoints({ ...state.params, user: who === 'all' ? '' : 'me' });
  const [token, setToken] = useState<string | null>(null);
  const actions = useEndpointActions(setToken);
  const digits = decimals(query.data?.items.map(one => one.cost_micro) ?? []);
  const columns: Column<Endpoint>[] = [
    { id: 'name', title: t('field.name'), grow: true, by: one => one.name, cell: one => <Link to={`/endpoints/${one.id}`}>{one.name}</Link> },
    { id: 'user', title: t('field.user'), by: one => one.user, cell: one => one.user, extra: who === 'me' },
    { id: 'phase', title: t('field.state'), by: one => one.phase, cell: one => <State phase={one.phase} reason={one.reason} position={one.queue_position} /> },
    { id: 'model', title: t('model.one'), by: one => one.model, cell: one => <Link to={modelPath(one.tenant, one.model)}>{`${one.model} v${one.version}`}</Link> },
    { id: 'instances', title: t('endpoint.instances'), right: true, by: one => one.instances, cell: one => `${one.ready_instances} / ${rangeOf(one)}` },
    { id: 'flavor', title: t('flavor.title'), by: one => one.flavor, cell: one => titles.flavor(one.flavor) },
    { id: 'tenant', title: t('tenant.title'), by: one => one.tenant, cell: one => one.tenant, extra: true },
    { id: 'cost', title: t('field.cost'), right: true, by: one => one.cost_micro, cell: one => money(one.cost_micro, one.currency, digits) },
    { id: 'started', title: t('field.since'), right: true, by: one => one.started_at, cell: one => <Age at={one.started_at ?? one.created_at} /> }
  ];
  return (
    <>
      <DataTable
        name={`endpoints-${who}`}
        label={t('endpoint.many')}
        query={query}
        state={state}
        columns={columns}
        keyOf={one => String(one.id)}
        actions={actions}
        filters={filters}
        empty={
          <Empty text={t('endpoint.empty')}>
            <Button kind="primary" onClick={() => place.open('/models')}>
              {t('model.many')}
            </Button>
          </Empty>
        }
      />
      {token && <TokenDialog token={token} onClose={() => setToken(null)} />}
    </>
  );
}

export function TokenDialog({ token, onClose }: { token: string; onClose: () => void }): JSX.Element {
  const { t } = useWords();
  return (
    <Dialog title={t('endpoint.token')} onClose={onClose}>
      <div className="lt-form">
        <p className="lt-dialog-text">{t('endpoint.tokenOnce')}</p>
        <div className="lt-command">
          <code>{token}</code> <CopyButton text={token} />
        </div>
        <footer className="lt-dialog-foot">
          <Button kind="primary" onClick={onClose}>
            {t('endpoint.tokenSaved')}
          </Button>
        </footer>
      </div>
    </Dialog>
  );
}

export function NewEndpointPage(): JSX.Element {
  const words = useWords();
  const { t } = words;
  const place = usePlace();
  const notify = useNotify();
  const me = useMe().data;
  const models = useModels({ limit: 500 });
  const asked = place.query.get('model');
  const askedTenant = place.query.get('tenant');
  const [picked, setPicked] = useState<string | null>(asked ? `${askedTenant ?? ''}/${asked}` : null);
  const first = models.data?.items[0];
  const key = picked ?? (first ? `${first.tenant}/${first.name}` : '');
  const model = models.data?.items.find(one => `${one.tenant}/${one.name}` === key);
  const detail = useOne<ModelDetail>('models', `models/${model?.tenant}/${encodeURIComponent(model?.name ?? '')}`, { enabled: !!model });
  const [version, setVersion] = useState(place.query.get('version') ?? '');
  const [name, setName] = useState<string | null>(null);
  const [instances, setInstances] = useState<number | null>(1);
  const [most, setMost] = useState<number | null>(null);
  const scaling = useScaling();
  const [hours, setHours] = useState<number | null>(null);
  const [image, setImage] = useState('');
  const [flavor, setFlavor] = useState('');
  const [made, setMade] = useState<Endpoint | null>(null);
  const flavors = useFlavors().data?.items ?? [];
  const images = useImages().data?.items ?? [];
  const publish = useChange((client, body: object) => client.send<Endpoint>('POST', 'serving', 'endpoints', body), 'serving', 'models');
  const onSubmit = (event: React.FormEvent): void => {
    event.preventDefault();
    if (!model) return;
    const body = {
      name: (name ?? model.name).trim(),
      model: model.name,
      version: version || model.latest_version || '',
      tenant: model.tenant || me?.default_tenant,
      instances: instances ?? 1,
      most_instances: most ?? undefined,
      image: image || undefined,
      flavor: flavor || undefined,
      max_seconds: hours ? Math.round(hours * 3600) : undefined
    };
    publish.mutate(body, {
      onSuccess: endpoint => {
        notify(t('endpoint.published', { name: endpoint.name }));
        if (endpoint.token) setMade(endpoint);
        else place.open(`/endpoints/${endpoint.id}`);
      }
    });
  };
  return (
    <Page title={t('endpoint.publish')}>
      <Loaded query={models} rows={3}>
        {data =>
          data.items.length === 0 ? (
            <Empty text={t('model.empty')}>
              <Button kind="primary" onClick={() => place.open('/jobs')}>
                {t('model.fromJobs')}
              </Button>
            </Empty>
          ) : (
            <form className="lt-form" onSubmit={onSubmit}>
              <div className="lt-columns">
                <SelectField
                  label={t('model.one')}
                  value={key}
                  onChange={next => {
                    setPicked(next);
                    setVersion('');
                  }}
                  choices={data.items.map(one => ({ value: `${one.tenant}/${one.name}`, label: `${one.name} (${one.tenant})` }))}
                />
                <SelectField
                  label={t('model.versionWord')}
                  value={String(version || model?.latest_version || '')}
                  onChange={setVersion}
                  choices={(detail.data?.version_list ?? []).map(one => ({ value: String(one.version), label: `v${one.version} · ${one.framework}` }))}
                />
              </div>
              <TextField label={t('field.name')} value={name ?? model?.name ?? ''} onChange={setName} required hint={t('endpoint.nameHint')} problem={problemOf(publish.error, 'name')} />
              <NumberField label={t('endpoint.instances')} value={instances} onChange={setInstances} min={1} max={16} hint={t('endpoint.instancesHint')} problem={problemOf(publish.error, 'instances')} />
              <More>
                {scaling && <MostField value={most} onChange={setMost} problem={problemOf(publish.error, 'most_instances')} />}
                <NumberField label={t('endpoint.stopAfter')} value={hours} onChange={setHours} min={0.1} step={0.5} unit={t('unit.hoursLong')} hint={t('endpoint.stopAfterHint')} problem={problemOf(publish.error, 'max_seconds')} />
                <SelectField label={t('image.title')} value={image} onChange={setImage} choices={[{ value: '', label: t('endpoint.sameAsJob') }, ...images.map(one => ({ value: one.name, label: words.title(one.title, one.name) }))]} />
                <SelectField label={t('flavor.title')} value={flavor} onChange={setFlavor} choices={[{ value: '', label: t('endpoint.smallest') }, ...flavors.map(one => ({ value: one.name, label: words.title(one.title, one.name) }))]} />
              </More>
              <FormProblem error={publish.error} fields={['name', 'instances', 'most_instances', 'max_seconds']} />
              <div className="lt-form-foot">
                <Effect flavor={flavor || cheapest(flavors)} count={most ?? instances ?? 1} />
                <Button kind="primary" submit busy={publish.isPending} disabled={!model}>
                  {t('endpoint.publishIt')}
                </Button>
              </div>
            </form>
          )
        }
      </Loaded>
      {made?.token && <TokenDialog token={made.token} onClose={() => place.open(`/endpoints/${made.id}`)} />}
    </Page>
  );
}

/** What the service takes when nothing is chosen: the cheapest without accelerators. */
function cheapest(flavors: Flavor[]): string {
  const plain = flavors.filter(one => one.accelerator_count === 0).sort((a, b) => a.price_micro_per_hour - b.price_micro_per_hour);
  return plain[0]?.name ?? '';
}

export function EndpointPage({ id }: { id: string }): JSX.Element {
  const words = useWords();
  const { t } = words;
  const titles = useTitles();
  const [token, setToken] = useState<string | null>(null);
  const actions = useEndpointActions(setToken);
  const query = useOne<Endpoint>('serving', `endpoints/${id}`, { every: data => (isMoving((data as Endpoint | undefined)?.phase ?? '') ? 1500 : 5000) });
  return (
    <Loaded query={query}>
      {one => (
        <Page title={one.name} state={<State phase={one.phase} position={one.queue_position} />} actions={<Actions actions={actions(one)} shown={2} label={t('action.more')} />} note={one.reason}>
          <Facts
            facts={[
              [t('model.one'), <Link key="model" to={modelPath(one.tenant, one.model)}>{`${one.model} v${one.version}`}</Link>],
              [t('endpoint.instances'), t('endpoint.ready', { ready: one.ready_instances, all: rangeOf(one) })],
              [t('field.runningFor'), one.started_at && !isFinal(one.phase) ? <Took key="took" from={one.started_at} /> : null],
              [t('endpoint.stops'), one.stops_at ? <Age key="stops" at={one.stops_at} /> : null],
              [t('field.cost'), money(one.cost_micro, one.currency)]
            ]}
          />
          <Tabs
            tabs={[
              { id: 'try', title: t('tab.try'), show: () => <TryIt endpoint={one} /> },
              { id: 'address', title: t('tab.address'), show: () => <Address endpoint={one} onRenew={() => actions(one)[1].run()} /> },
              { id: 'log', title: t('tab.log'), show: () => <InstanceLogs endpoint={one} /> },
              { id: 'monitor', title: t('tab.monitor'), show: () => <Monitor kind="endpoint" id={one.id} running={one.phase === 'running'} /> },
              { id: 'events', title: t('tab.events'), show: () => <Events service="serving" path={`endpoints/${one.id}/events`} /> },
              {
                id: 'settings',
                title: t('tab.settings'),
                show: () => (
                  <>
                    <Settings endpoint={one} />
                    <Facts
                      facts={[
                        [t('field.user'), one.user],
                        [t('tenant.title'), one.tenant],
                        [t('image.title'), titles.image(one.image)],
                        [t('flavor.title'), titles.flavor(one.flavor)],
                        [t('field.created'), <Moment key="created" at={one.created_at} />],
                        [t('endpoint.stopAfter'), one.max_seconds ? duration(one.max_seconds, words) : t('endpoint.never')]
                      ]}
                    />
                  </>
                )
              }
            ]}
          />
          {token && <TokenDialog token={token} onClose={() => setToken(null)} />}
        </Page>
      )}
    </Loaded>
  );
}

/** Example of a call anybody may paste into a terminal. */
function Address({ endpoint, onRenew }: { endpoint: Endpoint; onRenew: () => void }): JSX.Element {
  const { t } = useWords();
  const url = new URL(endpoint.infer_url || `${endpoint.address}/v2/models/${endpoint.model}/infer`, window.location.origin).href;
  const curl = [
    `curl ${url}`,
    `  -H "Authorization: Bearer $TOKEN"`,
    `  -H 'Content-Type: application/json'`,
    `  -d '${JSON.stringify({ inputs: exampleInputs(endpoint.signature) })}'`
  ].join(' \\\n');
  return (
    <>
      <Card title={t('endpoint.address')} actions={<CopyButton text={url} />}>
        <div className="lt-command">
          <code>{url}</code>
        </div>
        <p className="lt-hint">{t('endpoint.protocol')}</p>
      </Card>
      <Card title={t('endpoint.example')} actions={<CopyButton text={curl} />}>
        <pre className="lt-code">{curl}</pre>
      </Card>
      <Card title={t('endpoint.token')} actions={<Button small onClick={onRenew}>{t('endpoint.renewToken')}</Button>}>
        <p>{t('endpoint.tokenHint')}</p>
      </Card>
    </>
  );
}

interface SignatureInput {
  name?: string;
  type?: string;
  'tensor-spec'?: { dtype: string; shape: number[] };
}

const DATATYPES: Record<string, string> = { float64: 'FP64', float32: 'FP32', int64: 'INT64', int32: 'INT32', uint8: 'UINT8', bool: 'BOOL', double: 'FP64', float: 'FP32', long: 'INT64', integer: 'INT32', string: 'BYTES' };

/** Open Inference Protocol inputs that fit the signature: MLflow's, as JSON text or parsed, or the protocol's own. */
function exampleInputs(signature: unknown): object[] {
  const parsed = signature as { inputs?: SignatureInput[] | string } | null;
  const inputs: SignatureInput[] = typeof parsed?.inputs === 'string' ? (JSON.parse(parsed.inputs) as SignatureInput[]) : Array.isArray(parsed?.inputs) ? parsed.inputs : [];
  if (!inputs.length) return [{ name: 'x', shape: [1, 4], datatype: 'FP64', data: [5.1, 3.5, 1.4, 0.2] }];
  return inputs.slice(0, 6).map((input, index) => {
    const tensor = input['tensor-spec'];
    const shape = (tensor?.shape ?? [1, 1]).map(size => (size < 0 ? 1 : size));
    const datatype = DATATYPES[tensor?.dtype ?? input.type ?? ''] ?? 'FP64';
    const count = shape.reduce((product, size) => product * size, 1);
    return { name: input.name ?? `input-${index}`, shape, datatype, data: Array.from({ length: Math.min(count, 64) }, () => (datatype === 'BYTES' ? '' : 0)) };
  });
}

function InstanceLogs({ endpoint }: { endpoint: Endpoint }): JSX.Element {
  const { t } = useWords();
  const [instance, setInstance] = useState('0');
  const choices = Array.from({ length: Math.max(1, endpoint.instances, endpoint.ready_instances) }, (_, index) => ({ value: String(index), label: t('endpoint.instance', { number: index + 1 }) }));
  return (
    <>
      {choices.length > 1 && <SelectField label={t('endpoint.instances')} value={instance} onChange={setInstance} choices={choices} />}
      <LogView service="serving" path={`endpoints/${endpoint.id}/log`} params={{ instance }} live={!isFinal(endpoint.phase)} fileName={`${endpoint.slug}-${instance}.log`} />
    </>
  );
}

/** "2", or "1–4" where instances are added under load. */
const rangeOf = (one: Endpoint): string => (one.most_instances ? `${one.instances}–${one.most_instances}` : String(one.instances));

const useScaling = (): boolean => useOne<{ available: boolean }>('serving', 'scaling', { every: 0 }).data?.available ?? false;

function MostField(field: { value: number | null; onChange: (value: number | null) => void; problem?: string | null }): JSX.Element {
  const { t } = useWords();
  return <NumberField label={t('endpoint.mostInstances')} min={1} max={16} hint={t('endpoint.mostInstancesHint')} {...field} />;
}

function Settings({ endpoint }: { endpoint: Endpoint }): JSX.Element {
  const { t } = useWords();
  const notify = useNotify();
  const [instances, setInstances] = useState<number | null>(endpoint.instances);
  const [most, setMost] = useState<number | null>(endpoint.most_instances);
  const scaling = useScaling();
  const [version, setVersion] = useState(String(endpoint.version));
  const [hours, setHours] = useState<number | null>(endpoint.max_seconds ? endpoint.max_seconds / 3600 : null);
  const model = useOne<ModelDetail>('models', `models/${endpoint.tenant}/${encodeURIComponent(endpoint.model)}`);
  const change = useChange((client, body: object) => client.send('PATCH', 'serving', `endpoints/${endpoint.id}`, body), 'serving');
  const onSubmit = (event: React.FormEvent): void => {
    event.preventDefault();
    const body = { instances: instances ?? 1, most_instances: most ?? 0, version, max_seconds: hours ? Math.round(hours * 3600) : 0 };
    change.mutate(body, { onSuccess: () => notify(t('endpoint.changed', { name: endpoint.name })) });
  };
  return (
    <form className="lt-form" onSubmit={onSubmit}>
      <div className="lt-columns">
        <SelectField label={t('model.versionWord')} value={version} onChange={setVersion} choices={(model.data?.version_list ?? []).map(one => ({ value: String(one.version), label: `v${one.version}` }))} />
        <NumberField label={t('endpoint.instances')} value={instances} onChange={setInstances} min={1} max={16} problem={problemOf(change.error, 'instances')} />
        {(scaling || endpoint.most_instances) && <MostField value={most} onChange={setMost} problem={problemOf(change.error, 'most_instances')} />}
        <NumberField label={t('endpoint.stopAfter')} value={hours} onChange={setHours} min={0.1} step={0.5} unit={t('unit.hoursLong')} problem={problemOf(change.error, 'max_seconds')} />
      </div>
      <FormProblem error={change.error} fields={['instances', 'most_instances', 'max_seconds']} />
      <div className="lt-form-foot">
        <Button kind="primary" submit busy={change.isPending}>
          {t('action.save')}
        </Button>
      </div>
    </form>
  );
}
