//! The reader over volumes of real etcd members, sound and damaged. One binary, as each is compiled
//! optimized.

mod damage_database;
mod damage_log;
mod damage_set;
mod damage_snap;
mod etcd_sets;
mod ext4_journal;
mod ext4_kernel;
mod ext4_prefetch;
mod ext4_refusals;
mod ext4_second_opinion;
mod fixtures;
mod images;
mod listing;
mod made_sets;
mod unreadable;
mod support {
    pub mod damage;
    pub mod memory;
    pub mod pages;
    pub mod records;
    pub mod sets;
}
