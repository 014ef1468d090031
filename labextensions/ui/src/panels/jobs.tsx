/** Jobs: list, submit, one in detail. */
import { useState } from 'react';

import { STEADY, useChange, useList, useMe, useOne, usePlace } from '../context';
import { commandLine, decimals, metric, money, splitCommand } from '../format';
import { useWords } from '../i18n';
import { Actions, Button, CopyButton, Link, type Action } from '../parts/buttons';
import { useBulk } from '../parts/bulk';
import { Dialog, useConfirm } from '../parts/dialog';
import { AreaField, FormProblem, NumberField, problemOf, SelectField, TextField } from '../parts/form';
import { Page, Tabs } from '../parts/layout';
import { LogView } from '../parts/log';
import { Empty, Loaded } from '../parts/states';
import { Chips, DataTable, SmallTable, useTableState, type Column } from '../parts/table';
import { useNotify, useSentence } from '../parts/toast';
import { Age, Facts, isFinal, isMoving, Moment, State, Took } from '../parts/values';
import type { Job, JobMetrics, List, ModelVersion, Spread } from '../types';
import { Effect, NOWHERE, resolve, RunPlace, useProfiles, useTitles, type Place2Run } from './catalog';
import { Events } from './events';
import { Monitor } from './monitor';

const every = (data: unknown): number => ((data as List<Job> | undefined)?.items.some(job => !isFinal(job.phase)) ? 2000 : STEADY);

export const useJobs = (params: Record<string, string | number>) => useList<Job>('training', 'jobs', { params, every });

export function useJobActions(onRegister: (job: Job) => void): (job: Job) => Action[] {
  const { t } = useWords();
  const place = usePlace();
  const confirm = useConfirm();
  const notify = useNotify();
  const sentence = useSentence();
  const onError = (error: unknown): void => notify(sentence(error), 'bad');
  const cancel = useChange((client, job: Job) => client.send('POST', 'training', `jobs/${job.id}/cancel`), 'training');
  const rerun = useChange((client, job: Job) => client.send<Job>('POST', 'training', `jobs/${job.id}/rerun`), 'training');
  const remove = useChange((client, job: Job) => client.send('DELETE', 'training', `jobs/${job.id}`), 'training');
  return job => {
    const askCancel = async (): Promise<void> => {
      const yes = await confirm({ title: t('job.cancelTitle', { name: job.name }), text: t('job.cancelText'), verb: t('job.cancel'), danger: true });
      if (yes) cancel.mutate(job, { onError });
    };
    const askDelete = async (): Promise<void> => {
      const yes = await confirm({ title: t('job.deleteTitle', { name: job.name }), text: t('job.deleteText'), verb: t('action.delete'), danger: true });
      if (yes) remove.mutate(job, { onError, onSuccess: () => notify(t('job.deleted', { name: job.name })) });
    };
    const again: Action = {
      label: t('job.rerun'),
      run: () =>
        rerun.mutate(job, {
          onError,
          onSuccess: made => {
            notify(t('job.submitted', { name: made.name }));
            place.open(`/jobs/${made.id}`);
          }
        })
    };
    const change: Action = { label: t('job.change'), run: () => place.open(`/jobs/new?from=${job.id}`) };
    if (!isFinal(job.phase)) return [{ label: t('job.cancel'), run: () => void askCancel(), disabled: job.phase === 'stopping' }, again, change];
    const register: Action = { label: t('model.register'), run: () => onRegister(job) };
    const removal: Action = { label: t('action.delete'), run: () => void askDelete(), danger: true };
    return job.phase === 'succeeded' ? [register, again, change, removal] : [again, change, removal];
  };
}

export function JobsPage(): JSX.Element {
  const { t } = useWords();
  const place = usePlace();
  const others = useMe().data?.tenants.some(tenant => tenant.role !== 'member' && tenant.role !== 'viewer') ?? false;
  const who = place.query.get('user') === 'all' ? 'all' : 'me';
  const filters = others && <Chips name="user" choices={[{ value: 'me', label: t('filter.mine') }, { value: 'all', label: t('filter.everybody') }]} />;
  return (
    <Page title={t('job.many')} note={t('job.about')} actions={<Button kind="primary" onClick={() => place.open('/jobs/new')}>{t('job.new')}</Button>}>
      <JobTable who={who} filters={filters} />
    </Page>
  );
}

export function JobTable({ who, filters }: { who: 'me' | 'all'; filters?: React.ReactNode }): JSX.Element {
  const { t } = useWords();
  const place = usePlace();
  const state = useTableState();
  const titles = useTitles();
  const query = useJobs({ ...state.params, user: who === 'all' ? '' : 'me' });
  const [registering, setRegistering] = useState<Job | null>(null);
  const actions = useJobActions(setRegistering);
  const bulk = useBulk<Job>('training');
  const bulkActions = (rows: Job[]): Action[] => {
    const nameOf = (job: Job): string => `#${job.id} ${job.name}`;
    return [
      bulk({ label: t('job.cancel'), text: t('job.cancelText'), nameOf, danger: true, rows: rows.filter(job => !isFinal(job.phase)), run: (client, job) => client.send('POST', 'training', `jobs/${job.id}/cancel`) }),
      bulk({ label: t('action.delete'), text: t('job.deleteText'), nameOf, danger: true, rows: rows.filter(job => isFinal(job.phase)), run: (client, job) => client.send('DELETE', 'training', `jobs/${job.id}`) })
    ];
  };
  const digits = decimals(query.data?.items.map(job => job.cost_micro) ?? []);
  const columns: Column<Job>[] = [
    { id: 'id', title: '#', right: true, by: job => job.id, cell: job => job.id },
    { id: 'name', title: t('field.name'), grow: true, by: job => job.name, cell: job => <Link to={`/jobs/${job.id}`}>{job.name}</Link> },
    ...(who === 'all' ? [{ id: 'user', title: t('field.user'), by: (job: Job) => job.user, cell: (job: Job) => job.user }] : []),
    { id: 'phase', title: t('field.state'), by: job => job.phase, cell: job => <State phase={job.phase} reason={job.reason} position={job.queue_position} /> },
    { id: 'flavor', title: t('flavor.title'), by: job => job.flavor, cell: job => titles.flavor(job.flavor) },
    { id: 'image', title: t('image.title'), by: job => job.image, cell: job => titles.image(job.image), extra: true },
    { id: 'tenant', title: t('tenant.title'), by: job => job.tenant, cell: job => job.tenant, extra: true },
    { id: 'took', title: t('field.took'), right: true, by: job => job.duration_seconds, cell: job => <Took from={job.started_at} to={job.ended_at} seconds={job.duration_seconds} /> },
    { id: 'cost', title: t('field.cost'), right: true, by: job => job.cost_micro, cell: job => money(job.cost_micro, job.currency, digits) },
    { id: 'created_at', title: t('field.created'), right: true, by: job => job.created_at, cell: job => <Age at={job.created_at} /> }
  ];
  return (
    <>
      <DataTable
        name={`jobs-${who}`}
        label={t('job.many')}
        query={query}
        state={state}
        columns={columns}
        keyOf={job => String(job.id)}
        actions={actions}
        bulk={bulkActions}
        filters={filters}
        empty={
          <Empty text={t('job.empty')}>
            <Button kind="primary" onClick={() => place.open('/jobs/new')}>
              {t('job.new')}
            </Button>
          </Empty>
        }
      />
      {registering && <RegisterDialog job={registering} onClose={() => setRegistering(null)} />}
    </>
  );
}

/** Prefilled from the address: `from` another job, or `command`, `cwd`, `name` from a file. */
export function NewJobPage(): JSX.Element {
  const { query } = usePlace();
  const from = query.get('from');
  const origin = useOne<Job>('training', `jobs/${from}`, { enabled: !!from, every: 0 });
  if (!from) return <JobForm name={query.get('name') ?? ''} command={query.get('command') ?? 'python train.py'} cwd={query.get('cwd') ?? ''} where={NOWHERE} />;
  return (
    <Loaded query={origin}>
      {job => (
        <JobForm
          name={job.name}
          command={commandLine(job.command)}
          cwd={job.cwd}
          nodes={job.nodes}
          anywhere={job.anywhere}
          where={{ tenant: job.tenant, profile: job.profile, image: job.image, flavor: job.flavor }}
        />
      )}
    </Loaded>
  );
}

function JobForm(start: { name: string; command: string; cwd: string; nodes?: number; anywhere?: boolean; where: Place2Run }): JSX.Element {
  const { t } = useWords();
  const place = usePlace();
  const notify = useNotify();
  const me = useMe().data;
  const [name, setName] = useState(start.name);
  const [command, setCommand] = useState(start.command);
  const [cwd, setCwd] = useState(start.cwd);
  const [settings, setSettings] = useState('');
  const [nodes, setNodes] = useState<number | null>(start.nodes ?? 1);
  const [anywhere, setAnywhere] = useState(start.anywhere ?? false);
  const [folder, setFolder] = useState('');
  const spread = useOne<Spread>('training', 'spread', { every: 0 }).data ?? { most_nodes: 1, clusters: [] };
  const [where, setWhere] = useState(start.where);
  const profiles = useProfiles(where.tenant || me?.default_tenant || '').data?.items ?? [];
  const choice = where.profile || where.image || !profiles.length ? where : { ...where, profile: profiles[0].name };
  const words = splitCommand(command);
  const submit = useChange((client, body: object) => client.send<Job>('POST', 'training', 'jobs', body), 'training');
  const env = parseSettings(settings);
  const onSubmit = (event: React.FormEvent): void => {
    event.preventDefault();
    const body = {
      name: name.trim() || defaultName(words),
      command: words,
      cwd: cwd.trim(),
      env: env.values,
      ...(nodes && nodes > 1 ? { nodes } : {}),
      ...(anywhere ? { anywhere, folder: folder || undefined } : {}),
      profile: choice.profile || undefined,
      image: choice.image || undefined,
      flavor: choice.flavor || undefined,
      tenant: choice.tenant || me?.default_tenant
    };
    submit.mutate(body, {
      onSuccess: job => {
        notify(t('job.submitted', { name: job.name }));
        place.open(`/jobs/${job.id}?tab=log`);
      }
    });
  };
  return (
    <Page title={t('job.new')}>
      <form className="lt-form" onSubmit={onSubmit}>
        <TextField label={t('job.command')} value={command} onChange={setCommand} required mono hint={t('job.commandHint')} problem={problemOf(submit.error, 'command')} autoFocus />
        <div className="lt-columns">
          <TextField label={t('job.cwd')} value={cwd} onChange={setCwd} mono placeholder="~" hint={t('job.cwdHint')} problem={problemOf(submit.error, 'cwd')} />
          <TextField label={t('field.name')} value={name} onChange={setName} placeholder={defaultName(words)} problem={problemOf(submit.error, 'name')} />
        </div>
        {spread.most_nodes > 1 && (
          <NumberField label={t('job.nodes')} value={nodes} onChange={setNodes} min={1} max={spread.most_nodes} hint={t('job.nodesHint')} problem={problemOf(submit.error, 'nodes')} />
        )}
        {spread.clusters.length > 0 && (
          <ul className="lt-checks">
            <li>
              <label>
                <input type="checkbox" checked={anywhere} onChange={event => setAnywhere(event.target.checked)} />
                <span>
                  <strong>{t('job.anywhere')}</strong>
                  <span className="lt-hint"> {t('job.anywhereHint', { clusters: spread.clusters.join(', ') })}</span>
                </span>
              </label>
            </li>
            {anywhere && (
              <li>
                <label>
                  <input type="file" accept=".zip" aria-label={t('job.folder')} onChange={event => void readZip(event.target.files?.[0]).then(setFolder)} />
                  <span className="lt-hint">{t('job.folderHint')}</span>
                </label>
              </li>
            )}
          </ul>
        )}
        <RunPlace
          value={choice}
          onChange={setWhere}
          more={<AreaField label={t('job.env')} value={settings} onChange={setSettings} mono placeholder="EPOCHS=10" hint={t('job.envHint')} problem={env.problem ? t('job.envProblem', { line: env.problem }) : problemOf(submit.error, 'env')} />}
        />
        <FormProblem error={submit.error} fields={['command', 'cwd', 'name', 'env']} />
        <div className="lt-form-foot">
          <Effect flavor={resolve(choice, profiles).flavor} count={nodes ?? 1} />
          <Button kind="primary" submit busy={submit.isPending} disabled={!words.length || !!env.problem}>
            {t('job.submit')}
          </Button>
        </div>
      </form>
    </Page>
  );
}

/** Numbered as its program sees them in LTAI_NODE. */
function JobLog({ job }: { job: Job }): JSX.Element {
  const { t } = useWords();
  const [node, setNode] = useState('0');
  const choices = Array.from({ length: job.nodes ?? 1 }, (_, index) => ({ value: String(index), label: t('job.node', { number: index }) }));
  return (
    <>
      {choices.length > 1 && <SelectField label={t('admin.nodes')} value={node} onChange={setNode} choices={choices} />}
      <LogView service="training" path={`jobs/${job.id}/log`} params={{ node }} live={!isFinal(job.phase)} fileName={`job-${job.id}-${node}.log`} />
    </>
  );
}

/** In base64, as the service takes it. */
async function readZip(file: File | undefined): Promise<string> {
  const bytes = new Uint8Array(file ? await file.arrayBuffer() : []);
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}

function defaultName(words: string[]): string {
  const file = words.find(word => /\.(py|sh|ipynb|R|jl)$/.test(word)) ?? words[0] ?? '';
  return file.split('/').at(-1)?.replace(/\.\w+$/, '') ?? '';
}

/** NAME=value a line. */
function parseSettings(text: string): { values: Record<string, string>; problem: string | null } {
  const values: Record<string, string> = {};
  for (const line of text.split('\n').filter(one => one.trim())) {
    const found = /^\s*([A-Za-z_]\w*)=(.*)$/.exec(line);
    if (!found) return { values, problem: line.trim() };
    values[found[1]] = found[2];
  }
  return { values, problem: null };
}

export function JobPage({ id }: { id: string }): JSX.Element {
  const { t } = useWords();
  const titles = useTitles();
  const place = usePlace();
  const [registering, setRegistering] = useState<Job | null>(null);
  const actions = useJobActions(setRegistering);
  const query = useOne<Job>('training', `jobs/${id}`, { every: data => (isFinal((data as Job | undefined)?.phase ?? '') ? STEADY : 1500) });
  return (
    <Loaded query={query}>
      {job => (
        <Page title={job.name} state={<State phase={job.phase} position={job.queue_position} />} actions={<Actions actions={actions(job)} shown={2} label={t('action.more')} />} note={job.reason}>
          <Facts
            facts={[
              [t('field.took'), <Took key="took" from={job.started_at} to={job.ended_at} seconds={job.duration_seconds} />],
              [t('field.cost'), money(job.cost_micro, job.currency)],
              [t('flavor.title'), titles.flavor(job.flavor)],
              [t('job.exitCode'), job.exit_code]
            ]}
          />
          <Tabs
            tabs={[
              {
                id: 'overview',
                title: t('tab.overview'),
                show: () => (
                  <>
                    <div className="lt-command">
                      <code>{commandLine(job.command)}</code> <CopyButton text={commandLine(job.command)} />
                    </div>
                    <Facts
                      facts={[
                        ['#', job.id],
                        [t('job.cwd'), job.cwd || '~'],
                        [t('field.user'), job.user],
                        [t('tenant.title'), job.tenant],
                        [t('profile.title'), job.profile],
                        [t('image.title'), titles.image(job.image)],
                        [t('job.nodes'), job.nodes && job.nodes > 1 ? String(job.nodes) : null],
                        [t('job.cluster'), job.anywhere ? t('job.anywhere') : null],
                        [t('job.rerunOf'), job.rerun_of ? <Link key="of" to={`/jobs/${job.rerun_of}`}>{`#${job.rerun_of}`}</Link> : null],
                        [t('field.created'), <Moment key="created" at={job.created_at} />],
                        [t('field.started'), <Moment key="started" at={job.started_at} />],
                        [t('field.ended'), <Moment key="ended" at={job.ended_at} />],
                        [
                          'MLflow',
                          job.run_url ? (
                            <button key="run" type="button" className="lt-link" onClick={() => place.visit(job.run_url ?? '')}>
                              {t('job.openRun')}
                            </button>
                          ) : null
                        ]
                      ]}
                    />
                  </>
                )
              },
              { id: 'log', title: t('tab.log'), show: () => <JobLog job={job} /> },
              {
                id: 'metrics',
                title: t('tab.metrics'),
                show: () => (
                  <>
                    <RunMetrics job={job} />
                    {!isFinal(job.phase) && <Monitor kind="job" id={job.id} running={job.phase === 'running'} />}
                  </>
                )
              },
              { id: 'events', title: t('tab.events'), show: () => <Events service="training" path={`jobs/${job.id}/events`} /> }
            ]}
          />
          {registering && <RegisterDialog job={registering} onClose={() => setRegistering(null)} />}
        </Page>
      )}
    </Loaded>
  );
}

const useRunMetrics = (job: Job) => useOne<JobMetrics>('training', `jobs/${job.id}/metrics`, { every: isMoving(job.phase) || job.phase === 'running' ? 3000 : 30_000 });

function RunMetrics({ job }: { job: Job }): JSX.Element {
  const { t } = useWords();
  const query = useRunMetrics(job);
  return (
    <Loaded query={query} rows={3}>
      {run => (
        <div className="lt-columns">
          <Values title={t('model.metrics')} rows={Object.entries(run.metrics).map(([name, value]) => [name, metric(value)])} empty={t('job.noMetrics')} />
          <Values title={t('model.params')} rows={Object.entries(run.params)} empty={t('job.noParams')} />
        </div>
      )}
    </Loaded>
  );
}

/** A two-column table of names and values. */
export function Values({ title, rows, empty }: { title: string; rows: [string, string][]; empty: string }): JSX.Element {
  const { t } = useWords();
  if (!rows.length) return <Empty text={empty} />;
  return (
    <SmallTable
      label={title}
      rows={rows}
      keyOf={([name]) => name}
      columns={[
        { id: 'name', title, cell: ([name]) => <code>{name}</code>, grow: true },
        { id: 'value', title: t('field.value'), cell: ([, value]) => value, right: true }
      ]}
    />
  );
}

/** One click: the name is filled in, the model of the run is chosen when there is one only. */
export function RegisterDialog({ job, onClose }: { job: Job; onClose: () => void }): JSX.Element {
  const { t } = useWords();
  const place = usePlace();
  const notify = useNotify();
  const run = useRunMetrics(job);
  const [name, setName] = useState(job.name);
  const [modelId, setModelId] = useState('');
  const [description, setDescription] = useState('');
  const register = useChange((client, body: object) => client.send<ModelVersion>('POST', 'models', 'models', body), 'models', 'training');
  const onSubmit = (event: React.FormEvent): void => {
    event.preventDefault();
    register.mutate(
      { job: job.id, name: name.trim(), model_id: modelId || run.data?.models[0]?.model_id, description: description || undefined },
      {
        onSuccess: version => {
          notify(t('model.registered', { name: name.trim(), version: version.version }));
          onClose();
          place.open(`/models/${job.tenant}/${encodeURIComponent(name.trim())}`);
        }
      }
    );
  };
  return (
    <Dialog title={t('model.registerTitle', { name: job.name })} onClose={onClose}>
      <form className="lt-form" onSubmit={onSubmit}>
        <Loaded query={run} rows={2}>
          {data =>
            data.models.length ? (
              <>
                <TextField label={t('model.name')} value={name} onChange={setName} required autoFocus hint={t('model.nameHint')} problem={problemOf(register.error, 'name')} />
                {data.models.length > 1 && (
                  <SelectField
                    label={t('model.which')}
                    value={modelId || data.models[0].model_id}
                    onChange={setModelId}
                    choices={data.models.map(model => ({ value: model.model_id, label: `${model.name} (${model.framework})` }))}
                  />
                )}
                <TextField label={t('field.description')} value={description} onChange={setDescription} />
                {Object.keys(data.metrics).length > 0 && (
                  <p className="lt-hint">{Object.entries(data.metrics).slice(0, 5).map(([key, value]) => `${key} ${metric(value)}`).join(' · ')}</p>
                )}
              </>
            ) : (
              <Empty text={t('model.noneInJob')} />
            )
          }
        </Loaded>
        <FormProblem error={register.error} fields={['name']} />
        <footer className="lt-dialog-foot">
          <Button onClick={onClose}>{t('action.cancel')}</Button>
          <Button kind="primary" submit busy={register.isPending} disabled={!name.trim() || !run.data?.models.length}>
            {t('model.register')}
          </Button>
        </footer>
      </form>
    </Dialog>
  );
}
