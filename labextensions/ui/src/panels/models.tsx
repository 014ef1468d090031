/** Models: list, one with its versions. */
import { useState } from 'react';

import { useChange, useList, useOne, usePlace } from '../context';
import { metric } from '../format';
import { useWords } from '../i18n';
import { Actions, Button, Link, type Action } from '../parts/buttons';
import { useConfirm } from '../parts/dialog';
import { Card, Page } from '../parts/layout';
import { Empty, Loaded } from '../parts/states';
import { DataTable, useTableState, type Column } from '../parts/table';
import { useNotify, useSentence } from '../parts/toast';
import { Age, Facts } from '../parts/values';
import type { Model, ModelDetail, ModelVersion } from '../types';
import { useTitles } from './catalog';
import { Values } from './jobs';

export const useModels = (params: Record<string, string | number>) => useList<Model>('models', 'models', { params });

const publishPath = (model: { tenant: string; name: string }, version: string | null): string =>
  `/endpoints/new?tenant=${encodeURIComponent(model.tenant)}&model=${encodeURIComponent(model.name)}&version=${version ?? ''}`;

export const modelPath = (tenant: string, name: string): string => `/models/${tenant}/${encodeURIComponent(name)}`;

export function ModelsPage(): JSX.Element {
  const { t } = useWords();
  const place = usePlace();
  const confirm = useConfirm();
  const notify = useNotify();
  const sentence = useSentence();
  const state = useTableState();
  const query = useModels(state.params);
  const remove = useChange((client, model: Model) => client.send('DELETE', 'models', modelPath(model.tenant, model.name).slice(1)), 'models');
  const actions = (model: Model): Action[] => [
    { label: t('endpoint.publishIt'), run: () => place.open(publishPath(model, model.latest_version)) },
    {
      label: t('action.delete'),
      danger: true,
      run: () =>
        void confirm({ title: t('model.deleteTitle', { name: model.name }), text: t('model.deleteText', { count: model.versions }), verb: t('action.delete'), danger: true }).then(
          yes => yes && remove.mutate(model, { onError: error => notify(sentence(error), 'bad') })
        )
    }
  ];
  const columns: Column<Model>[] = [
    { id: 'name', title: t('field.name'), grow: true, by: model => model.name, cell: model => <Link to={modelPath(model.tenant, model.name)}>{model.name}</Link> },
    { id: 'latest', title: t('model.latest'), right: true, cell: model => (model.latest_version ? `v${model.latest_version}` : '–') },
    { id: 'versions', title: t('model.versions'), right: true, by: model => model.versions, cell: model => model.versions },
    { id: 'framework', title: t('model.framework'), by: model => model.framework, cell: model => model.framework },
    { id: 'tenant', title: t('tenant.title'), by: model => model.tenant, cell: model => model.tenant },
    { id: 'description', title: t('field.description'), cell: model => <span className="lt-clip">{model.description}</span> },
    { id: 'updated_at', title: t('field.updated'), right: true, by: model => model.updated_at, cell: model => <Age at={model.updated_at} /> }
  ];
  return (
    <Page title={t('model.many')} note={t('model.about')}>
      <DataTable
        name="models"
        label={t('model.many')}
        query={query}
        state={state}
        columns={columns}
        keyOf={model => `${model.tenant}/${model.name}`}
        actions={actions}
        empty={
          <Empty text={t('model.empty')}>
            <Button kind="primary" onClick={() => place.open('/jobs')}>
              {t('model.fromJobs')}
            </Button>
          </Empty>
        }
      />
    </Page>
  );
}

export function ModelPage({ tenant, name }: { tenant: string; name: string }): JSX.Element {
  const { t } = useWords();
  const query = useOne<ModelDetail>('models', `models/${tenant}/${encodeURIComponent(name)}`);
  return (
    <Loaded query={query}>
      {model => (
        <Page title={model.name} note={model.description}>
          <Facts
            facts={[
              [t('model.framework'), model.framework],
              [t('model.versions'), model.version_list.length],
              [t('tenant.title'), model.tenant],
              [t('field.updated'), <Age key="updated" at={model.updated_at} />]
            ]}
          />
          {model.version_list.map((version, index) => (
            <Version key={version.version} model={model} version={version} open={index === 0} />
          ))}
        </Page>
      )}
    </Loaded>
  );
}

function Version({ model, version, open }: { model: ModelDetail; version: ModelVersion; open: boolean }): JSX.Element {
  const { t } = useWords();
  const place = usePlace();
  const confirm = useConfirm();
  const notify = useNotify();
  const sentence = useSentence();
  const titles = useTitles();
  const [shown, setShown] = useState(open);
  const remove = useChange((client, number: string) => client.send('DELETE', 'models', `${modelPath(model.tenant, model.name).slice(1)}/versions/${number}`), 'models');
  const actions: Action[] = [
    { label: t('endpoint.publishIt'), run: () => place.open(publishPath(model, version.version)) },
    {
      label: t('action.delete'),
      danger: true,
      run: () =>
        void confirm({
          title: t('model.deleteVersionTitle', { name: model.name, version: version.version }),
          text: t('model.deleteVersionText'),
          verb: t('action.delete'),
          danger: true
        }).then(yes => yes && remove.mutate(version.version, { onError: error => notify(sentence(error), 'bad') }))
    }
  ];
  const best = Object.entries(version.metrics).slice(0, 3);
  return (
    <Card
      title={
        <button type="button" className="lt-section-toggle" aria-expanded={shown} onClick={() => setShown(!shown)}>
          <span className={`lt-caret ${shown ? 'lt-caret-open' : ''}`} aria-hidden="true" />
          {t('model.version', { version: version.version })}
          {version.aliases.map(alias => (
            <span key={alias} className="lt-badge">
              {alias}
            </span>
          ))}
          <span className="lt-hint">{best.map(([key, value]) => `${key} ${metric(value)}`).join(' · ')}</span>
        </button>
      }
      actions={<Actions actions={actions} label={t('action.more')} small />}
    >
      {shown && (
        <>
          <Facts
            facts={[
              [t('model.framework'), `${version.framework} ${version.framework_version}`.trim()],
              [t('field.user'), version.user],
              [t('field.created'), <Age key="created" at={version.created_at} />],
              [t('model.fromJob'), version.job_id ? <Link key="job" to={`/jobs/${version.job_id}`}>{`#${version.job_id}`}</Link> : null],
              [t('image.title'), version.image ? titles.image(version.image) : null],
              [t('flavor.title'), version.flavor ? titles.flavor(version.flavor) : null],
              [
                t('endpoint.many'),
                version.endpoints.length ? (
                  <span key="endpoints" className="lt-row">
                    {version.endpoints.map(id => (
                      <Link key={id} to={`/endpoints/${id}`}>{`#${id}`}</Link>
                    ))}
                  </span>
                ) : null
              ]
            ]}
          />
          <div className="lt-columns">
            <Values title={t('model.metrics')} rows={Object.entries(version.metrics).map(([key, value]) => [key, metric(value)])} empty={t('job.noMetrics')} />
            <Values title={t('model.params')} rows={Object.entries(version.params)} empty={t('job.noParams')} />
          </div>
        </>
      )}
    </Card>
  );
}
